# SPDX-License-Identifier: Apache-2.0
"""What this agent has set on the node, so that anybody can take it back later. Pure: values and bytes.

Guarantees: what ``decode`` returns names nothing but what this agent may set. So a forged journal undoes at most
such things, and only where they stand as it says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from nodeagent.sources.ctnetlink.wire import parse_key
from nodeagent.tuning.modes import MOST_MARKED, MOST_ZONES

VERSION: Final = 1
MAX_BYTES: Final = 4 * 2**20
"""With every record that there may be, of IPv6 connections. What is written can be read."""
_MOST: Final = MOST_MARKED * MOST_ZONES + 1
"""The table, and an entry in each zone of each connection."""


class JournalError(Exception):
    """These bytes are no journal."""


@dataclass(frozen=True, slots=True)
class TableRecord:
    """Our nftables table."""

    form: str | None = None
    """``ruleset.form`` of it as it was made; None: the agent ended before it saw that."""


@dataclass(frozen=True, slots=True)
class MarkRecord:
    """One bit of one connection's mark."""

    key: bytes
    ident: int
    bit: int


Record = TableRecord | MarkRecord


@dataclass(frozen=True, slots=True)
class Journal:
    """In the order in which things were set."""

    boot: str
    """The kernel's boot_id: nothing of an earlier one is left."""
    netns: int
    """Inode of the network namespace."""
    records: tuple[Record, ...] = field(default=())


def encode(journal: Journal) -> bytes:
    content = {
        "v": VERSION, "boot": journal.boot, "netns": journal.netns,
        "records": [_written(record) for record in journal.records],
    }  # fmt: skip
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def decode(content: bytes) -> Journal:
    """Raises JournalError naming what is wrong."""
    if len(content) > MAX_BYTES:
        raise JournalError(f"it has more than {MAX_BYTES} bytes")
    try:
        said = json.loads(content)
        if said["v"] != VERSION:
            raise JournalError(f"it has version {said['v']!r}, and this program knows {VERSION}")
        records = said["records"]
        if not isinstance(records, list) or len(records) > _MOST:
            raise JournalError("it has too many records")
        return Journal(str(said["boot"]), int(said["netns"]), tuple(_read(record) for record in records))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise JournalError(f"it cannot be read: {type(error).__name__}") from error


def _written(record: Record) -> dict[str, Any]:
    if isinstance(record, TableRecord):
        return {"kind": "table", "form": record.form}
    return {"kind": "mark", "key": record.key.hex(), "id": record.ident, "bit": record.bit}


def _read(said: Any) -> Record:
    if said["kind"] == "table":
        form = said["form"]
        return TableRecord(None if form is None else str(form))
    if said["kind"] == "mark":
        bit = int(said["bit"])
        key = bytes.fromhex(said["key"])
        if not 0 < bit < 2**32 or bit & (bit - 1) or parse_key(key) is None:
            raise JournalError("a record of it is no connection's mark")
        return MarkRecord(key, int(said["id"]), bit)
    raise JournalError("it has a record of an unknown kind")
