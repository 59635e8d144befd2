# SPDX-License-Identifier: Apache-2.0
"""The reference of flags, from the programs' own settings.

Enters: the settings models of node agent and extender, the plugin's ``--help``. Leaves: Markdown.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from extender.cleanup import CleanupSettings
from extender.settings import Settings
from lab.docs.tables import markdown
from nodeagent.settings import AgentSettings, PreflightSettings, TopSettings
from plugin.cli import PROGRAM
from plugin.cli import main as plugin

_PLUGIN_COMMANDS: Final = tuple(command.name for command in PROGRAM.commands)
_WIDTH: Final = "100"


def parts() -> dict[str, str]:
    """What stands between the markers of the page."""
    return {
        "agent-run": _table(AgentSettings),
        "agent-preflight": _table(PreflightSettings),
        "agent-top": _table(TopSettings),
        "extender-run": _table(Settings),
        "extender-cleanup": _table(CleanupSettings),
        "plugin": "\n".join(f"### `{name}`\n\n```text\n{_help(name)}```\n" for name in _PLUGIN_COMMANDS).rstrip(
            "\n"
        )
        + "\n",
    }


def _table(model: type[BaseSettings]) -> str:
    prefix = str(model.model_config.get("env_prefix", ""))
    shortcuts = model.model_config.get("cli_shortcuts") or {}
    rows = [
        [
            _flag(name, shortcuts),
            _default(name, field),
            _values(field.annotation),
            _text(field),
            f"`{prefix}{name.upper()}`",
        ]
        for name, field in model.model_fields.items()
    ]
    return markdown(["flag", "default", "values", "what it does", "environment variable"], rows)


def _flag(name: str, shortcuts: Any) -> str:
    kebab = name.replace("_", "-")
    return f"`--{shortcuts.get(kebab, kebab)}`"


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = field.default
    if value is None or value in ("", []):
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{_short(name, value)}`"


def _short(name: str, value: object) -> str:
    """As people write it: ``10M`` bit/s, ``128Ki`` bytes."""
    if name.endswith("_rate") and isinstance(value, float):
        return f"{value / 1e6:g}M"
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value // 2**20}Mi" if value % 2**20 == 0 else f"{value // 2**10}Ki"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    return ""


def _text(field: FieldInfo) -> str:
    return field.description or ""


def _help(command: str) -> str:
    """What ``kubectl-footprint COMMAND --help`` prints on a terminal of fixed width."""
    printed = io.StringIO()
    with _as_everywhere(), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        plugin([*command.split(), "--help"])
    return printed.getvalue().replace(str(Path.home()), "~")


@contextlib.contextmanager
def _as_everywhere() -> Iterator[None]:
    """The same text whoever runs it: defaults that come from the environment are left out."""
    before = dict(os.environ)
    for name in ("KUBECONFIG", "FORCE_COLOR"):
        os.environ.pop(name, None)
    os.environ |= {"COLUMNS": _WIDTH, "NO_COLOR": "1"}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
