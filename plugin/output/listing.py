# SPDX-License-Identifier: Apache-2.0
"""Rows and columns: what is the same for every list.

Enters: rows, and a Kind that says what each column holds. Leaves: rows in order, or one renderable of all of them.
Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from rich.console import RenderableType

from footprint.commands import BadSettingError, nearest
from plugin.output.flags import Form
from plugin.terminal import Styled, as_json, as_yaml, list_table, plain

Row = TypeVar("Row")
API_VERSION: Final = "plugin.traffic-footprint.io/v1"
"""Of what the plugin prints as JSON and YAML. A field may be added to a version; none goes or changes."""


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table."""

    head: str
    text: Callable[[Row], str]
    key: Callable[[Row], Any] | None = None
    """What to sort by: text, or a number, of which the greatest comes first. None comes last."""
    wide: bool = False
    """Shown with ``-o wide`` alone."""
    style: Callable[[Row], str] | None = None
    """Its colour on a terminal; empty for none."""

    @property
    def name(self) -> str:
        """As ``--sort-by`` takes it."""
        return self.head.lower().replace(" ", "-").replace("/", "-per-")


@dataclass(frozen=True)
class Kind(Generic[Row]):
    """What is listed."""

    kind: str
    """Of one object in JSON; with ``List`` appended, of all."""
    plural: str
    """For people."""
    columns: tuple[Column[Row], ...]
    reference: Callable[[Row], str]
    """``-o name``."""
    as_object: Callable[[Row], dict[str, Any]]
    """In JSON, without apiVersion and kind."""
    below: Callable[[Row], Iterable[Sequence[str]]] = field(default=lambda _: ())
    """Further lines of a row, each a cell for every narrow column."""


def ordered(rows: Iterable[Row], kind: Kind[Row], by: str) -> list[Row]:
    """``rows`` by a column's name, or by a JSONPath into each object. Raises BadSettingError."""
    if not by:
        return list(rows)
    if by.startswith((".", "{")):
        return _by_path(list(rows), kind, by)
    sortable = {column.name: column for column in kind.columns if column.key is not None}
    if by not in sortable:
        raise BadSettingError(
            f"--sort-by {by[:60]!r} is no column of {kind.plural}",
            f"{nearest(by, list(sortable))}use {', '.join(sortable)}, or a JSONPath such as .metadata.name",
        )
    key = sortable[by].key
    assert key is not None  # noqa: S101 - of the sortable ones
    return sorted(rows, key=lambda row: _rank(key(row), greatest_first=True))


def _by_path(rows: list[Row], kind: Kind[Row], path: str) -> list[Row]:
    from plugin.output import jsonpath  # noqa: PLC0415

    try:
        found = [(next(iter(jsonpath.values(path, kind.as_object(row))), None), row) for row in rows]
    except jsonpath.TemplateError as error:
        raise BadSettingError(f"--sort-by {path[:60]!r}: {error}", "use a path such as .metadata.name") from error
    return [row for _, row in sorted(found, key=lambda pair: _rank(pair[0], greatest_first=False))]


def _rank(value: Any, *, greatest_first: bool) -> tuple[int, Any]:
    """Values of one kind beside one another: numbers, text, anything else, nothing."""
    if value is None:
        return (3, 0)
    if isinstance(value, (int, float)):
        return (0, -value if greatest_first else value)
    return (1, value) if isinstance(value, str) else (2, as_json(value))


def number(value: float) -> float:
    """A whole number without a point, as JSON's readers print it."""
    return int(value) if value.is_integer() else value


def object_of(row: Row, kind: Kind[Row]) -> dict[str, Any]:
    """One row in JSON."""
    return {"apiVersion": API_VERSION, "kind": kind.kind, **kind.as_object(row)}


def rendered(
    rows: Sequence[Row],
    kind: Kind[Row],
    form: Form,
    *,
    alone: bool = False,
    missing: Sequence[str] = (),
    widths: Mapping[str, int] | None = None,
) -> RenderableType:
    """All ``rows`` in ``form``. ``alone``: a single one is printed as itself rather than as a list. ``missing``:
    what could not be read. ``widths``: of columns that stay as wide as before."""
    if form.is_table:
        columns = [column for column in kind.columns if form.wide or not column.wide]
        lines = (line for row in rows for line in _lines(row, columns, kind))
        return list_table([column.head for column in columns], lines, headers=form.headers, widths=widths)
    if form.name == "name":
        return "\n".join(map(kind.reference, rows))
    objects = [object_of(row, kind) for row in rows]
    whole = objects[0] if alone and len(objects) == 1 else _list(objects, kind, missing)
    return document(whole, form)


def _lines(row: Row, columns: Sequence[Column[Row]], kind: Kind[Row]) -> Iterable[list[str | Styled]]:
    yield [
        Styled(column.text(row), column.style(row)) if column.style is not None else column.text(row)
        for column in columns
    ]
    for cells in kind.below(row):
        yield [*cells, *[""] * (len(columns) - len(cells))]


def _list(objects: list[dict[str, Any]], kind: Kind[Row], missing: Sequence[str]) -> dict[str, Any]:
    told = {"missing": list(missing)} if missing else {}
    return {"apiVersion": API_VERSION, "kind": f"{kind.kind}List", **told, "items": objects}


def document(value: Any, form: Form) -> str:
    """``value`` as JSON, as YAML, or as what a template makes of it. Raises BadSettingError."""
    if form.name == "jsonpath":
        from plugin.output import jsonpath  # noqa: PLC0415

        try:
            return jsonpath.compiled(form.template).of(plain(value))
        except jsonpath.TemplateError as error:
            raise BadSettingError(
                f"-o jsonpath: {error}", "see `kubectl explain` for kubectl's JSONPath"
            ) from error
    return as_yaml(value) if form.name == "yaml" else as_json(value)
