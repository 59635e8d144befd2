# SPDX-License-Identifier: Apache-2.0
"""Takes back what a journal says, where it still stands as this agent set it.

Enters: the journal of this network namespace. Leaves: what was taken back, and what was left with the reason.
Guarantees: what somebody changed since is left as it is. What has gone by itself needs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from nodeagent.sources.ctnetlink.wire import parse_key
from nodeagent.sources.tuples import format_endpoint
from nodeagent.tuning import nft, ruleset
from nodeagent.tuning.conntrack import Connections
from nodeagent.tuning.conntrack_wire import Entry
from nodeagent.tuning.journal import Journal, JournalError, MarkRecord, Record, TableRecord
from nodeagent.tuning.journal_file import JournalFile, boot_id
from nodeagent.tuning.modes import Refusal, TuningRefusedError


@dataclass(slots=True)
class Outcome:
    """One line each."""

    undone: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Changed by somebody else since. It is theirs now ..."""
    failed: list[str] = field(default_factory=list)
    """... and this could not be taken back now; the journal keeps it."""

    def lines(self) -> list[str]:
        return [f"undone: {one}" for one in self.undone] + [f"left: {one}" for one in self.left]


class Marks(Protocol):
    """``Connections``, as far as undoing needs it."""

    def current(self, entry: Entry) -> Entry | None: ...
    def change(self, entry: Entry, bit: int, value: bool) -> bool: ...
    def close(self) -> None: ...


def restore(file: JournalFile, *, connect: Callable[[], Marks] = Connections) -> Outcome:
    """Take back what the journal in ``file`` says, and remove what is done from it. Raises TuningRefusedError for
    a journal that cannot be believed: it stays, and so does all that it may name."""
    try:
        journal = file.read()
    except JournalError as error:
        raise TuningRefusedError(
            Refusal.NO_JOURNAL,
            f"{file.path} is not used: {error}; look at what it names, then remove it",
        ) from error
    if journal is None:
        return Outcome()
    if journal.boot != boot_id():
        file.remove()
        return Outcome(undone=[f"{file.path}: nothing of it outlived the restart of the machine"])
    outcome, kept = Outcome(), list[Record]()
    marks = [record for record in journal.records if isinstance(record, MarkRecord)]
    for record in reversed([one for one in journal.records if isinstance(one, TableRecord)]):
        _attempt(partial(drop_table, record, outcome), record, kept, outcome)
    if marks:
        _clear_all(marks, connect, kept, outcome)
    if kept:
        file.write(Journal(journal.boot, journal.netns, tuple(kept)))
    else:
        file.remove()
    return outcome


def drop_table(record: TableRecord, outcome: Outcome) -> None:
    """Delete our table, if it is as it was made. Raises TuningRefusedError."""
    name = f"nftables table {ruleset.FAMILY} {ruleset.TABLE}"
    standing = nft.present()
    if standing is None:
        return
    if record.form is not None and standing != record.form:
        outcome.left.append(f"{name}: somebody changed it; `nft delete table {ruleset.FAMILY} {ruleset.TABLE}`")
        return
    nft.load(ruleset.removing())
    outcome.undone.append(name)


def clear(records: Iterable[MarkRecord], connections: Marks, outcome: Outcome) -> None:
    """Clear the bit on connections that live and carry it. Raises TuningRefusedError."""
    for record in records:
        now = connections.current(Entry(record.key, record.ident))
        if now is None:
            continue
        if not now.mark & record.bit:
            outcome.left.append(f"{_said(record)}: somebody took the mark already")
        elif connections.change(now, record.bit, False):
            outcome.undone.append(_said(record))


def _clear_all(
    records: list[MarkRecord], connect: Callable[[], Marks], kept: list[Record], outcome: Outcome
) -> None:
    try:
        connections = connect()
    except TuningRefusedError as error:
        kept += records
        outcome.failed.append(str(error))
        return
    try:
        for record in records:
            _attempt(partial(clear, [record], connections, outcome), record, kept, outcome)
    finally:
        connections.close()


def _attempt(action: Callable[[], None], record: Record, kept: list[Record], outcome: Outcome) -> None:
    try:
        action()
    except TuningRefusedError as error:
        kept.append(record)
        outcome.failed.append(str(error))


def _said(record: MarkRecord) -> str:
    tuples = parse_key(record.key)
    if tuples is None:
        return f"mark {record.bit:#x} of a connection"
    ends = (
        format_endpoint(tuples.orig_src, tuples.orig_src_port),
        format_endpoint(tuples.reply_src, tuples.reply_src_port),
    )
    return f"mark {record.bit:#x} of {ends[0]} > {ends[1]}"
