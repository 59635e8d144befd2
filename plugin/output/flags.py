# SPDX-License-Identifier: Apache-2.0
"""kubectl's ``-o`` and its companions, as settings.

Enters: flags. Leaves: a ``Form``. Guarantees: a template is refused with the flags, before anything is asked of a
cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator
from pydantic_settings import CliToggleFlag

from plugin.connection import PluginSettings

_TEMPLATE: Final = "jsonpath="
FORMATS: Final = ("wide", "json", "yaml", "name", "jsonpath=TEMPLATE")


@dataclass(frozen=True, slots=True)
class Form:
    """In which form things are printed."""

    name: str = ""
    """Empty: a table. Else ``wide``, ``json``, ``yaml``, ``name`` or ``jsonpath``."""
    template: str = ""
    headers: bool = True

    @property
    def is_table(self) -> bool:
        return self.name in ("", "wide")

    @property
    def wide(self) -> bool:
        return self.name == "wide"

    @property
    def end(self) -> str:
        """After it: a template says itself where its lines end."""
        return "" if self.name == "jsonpath" else "\n"


def one_of(*formats: str) -> AfterValidator:
    """A check that an output is a table, or one of ``formats``."""

    def check(text: str) -> str:
        if text in ("", "table") or text in formats:
            return text
        if not any(form.startswith(_TEMPLATE) for form in formats) or not text.startswith("jsonpath"):
            raise ValueError(f"{text[:60]!r} is no output format; use {', '.join(formats)}, or none for a table")
        template = text.removeprefix(_TEMPLATE)
        if not text.startswith(_TEMPLATE) or not template:
            raise ValueError("jsonpath needs a template, such as jsonpath='{.items[*].metadata.name}'")
        from plugin.output.jsonpath import compiled  # noqa: PLC0415

        compiled(template)  # its error is a ValueError
        return text

    return AfterValidator(check)


def form_of(output: str, *, headers: bool = True) -> Form:
    """The form that a checked ``output`` means."""
    if output.startswith(_TEMPLATE):
        return Form("jsonpath", output.removeprefix(_TEMPLATE), headers)
    return Form("" if output == "table" else output, headers=headers)


Output = Annotated[str, one_of(*FORMATS)]
DocumentOutput = Annotated[str, one_of("json", "yaml", "jsonpath=TEMPLATE")]
"""Of what is one document rather than a list of objects."""


class OutputSettings(PluginSettings):
    """``-o`` and ``--no-headers`` of commands that print lists. Commands add the short forms (SHORT)."""

    output: Output = ""
    """wide, json, yaml, name or jsonpath=TEMPLATE. Absent: a table."""

    no_headers: CliToggleFlag[bool] = False
    """A table without its first line."""

    @property
    def form(self) -> Form:
        return form_of(self.output, headers=not self.no_headers)


SHORT: Final[dict[str, Any]] = {
    "output": "o", "namespace": "n", "all-namespaces": "A", "selector": "l", "watch": "w",
}  # fmt: skip
"""kubectl's short flags, for a model's ``cli_shortcuts``."""
