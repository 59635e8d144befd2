# SPDX-License-Identifier: Apache-2.0
"""The part that lets mice pass elephants: marks on the elephants' connections, and rules that read them.

Enters: elephants, reading by reading. Leaves: a ``Status``, and with ``apply`` the marks and the rules.
Guarantees: each change is in the journal before it is made. Whatever goes wrong takes everything back, and says
why. Used by one thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import structlog

from footprint.token_bucket import TokenBucket
from nodeagent.tuning import nft, ruleset, undo
from nodeagent.tuning.conntrack import Connections
from nodeagent.tuning.conntrack_wire import Entry
from nodeagent.tuning.flows import Flow
from nodeagent.tuning.journal import Journal, MarkRecord, TableRecord
from nodeagent.tuning.journal_file import JournalFile, boot_id, here
from nodeagent.tuning.modes import Mode, PriorityOptions, Refusal, TuningRefusedError
from nodeagent.tuning.priority import plan, strangers
from nodeagent.tuning.undo import Outcome

CHECK: Final = 15.0
"""Seconds between two looks for somebody else's use of the bit, and for other uplinks."""
RETRY: Final = 60.0
"""Seconds after a refusal until the next try."""
ASK_AGAIN: Final = 10.0
"""Seconds until conntrack is asked again about a flow that it did not know."""
_LOGGED: Final = 5
"""Flows named in the log for one reading."""

_log = structlog.get_logger(__name__)


class ConnectionTable(Protocol):
    """``Connections``, or what stands in for them in a test."""

    def of(self, flow: Flow) -> list[Entry]: ...
    def marked(self, bit: int) -> list[Entry]: ...
    def current(self, entry: Entry) -> Entry | None: ...
    def change(self, entry: Entry, bit: int, value: bool) -> bool: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Status:
    """What is done, or with ``advise`` would be."""

    mode: Mode = Mode.OFF
    refusal: Refusal | None = None
    message: str = ""
    rules: str = ""
    flows: tuple[Flow, ...] = ()
    """Whose connections are marked."""
    waiting: int = 0
    unknown: int = 0
    """Elephants of which conntrack knows no connection."""
    marks_set: int = 0
    """Since the start, as the next two ..."""
    marks_cleared: int = 0
    refusals: int = 0
    left: tuple[str, ...] = ()
    """What somebody else changed and was therefore not taken back."""


class PriorityPart:
    """``advance`` after each reading, ``withdraw`` at the end; neither raises what this part can name."""

    def __init__(
        self,
        options: PriorityOptions,
        folder: Path,
        uplinks: Callable[[], Iterable[str]],
        *,
        connect: Callable[[], ConnectionTable] = Connections,
    ) -> None:
        self._options, self._folder, self._uplinks, self._connect = options, folder, uplinks, connect
        self.status = Status(mode=options.mode)
        self._file: JournalFile | None = None
        self._table: ConnectionTable | None = None
        self._record: TableRecord | None = None
        self._marked: dict[Flow, tuple[Entry, ...]] = {}
        self._unknown: dict[Flow, float] = {}
        self._rules = ""
        rate = options.marks_a_second
        self._budget = TokenBucket(burst=max(rate, 1.0), interval=1 / rate)
        self._next_check = -math.inf
        self._retry_at = -math.inf

    @property
    def _applies(self) -> bool:
        return self._options.mode is Mode.APPLY

    def advance(self, elephants: tuple[Flow, ...], now: float) -> None:
        """``elephants``: most important first; ``now``: monotonic seconds."""
        if now < self._retry_at:
            return
        try:
            table = self._begin() if self._table is None else self._table
            if now >= self._next_check:
                self._check(table)
                self._next_check = now + CHECK
            self._follow(table, elephants, now)
        except TuningRefusedError as refused:
            self._refuse(refused, now)

    def withdraw(self) -> Outcome:
        """Take everything back. What cannot be now stays in the journal."""
        outcome = Outcome()
        if self._table is not None:
            with suppress(TuningRefusedError):  # others use the bit: who inherited it from whom cannot be told
                self._disinherit(self._table)
            self._table.close()
        if self._file is not None:
            try:
                outcome = undo.restore(self._file, connect=self._connect)
            except TuningRefusedError as refused:
                outcome.failed.append(str(refused))
            finally:
                self._file.close()
        for line in (*outcome.left, *outcome.failed):
            _log.warning("tuning is not taken back", what=line)
        self._table, self._file, self._record, self._marked, self._rules = None, None, None, {}, ""
        self._unknown = {}
        self._next_check = -math.inf
        self._say(rules="", flows=(), waiting=0, unknown=0, left=(*self.status.left, *outcome.left)[-32:])
        return outcome

    def _begin(self) -> ConnectionTable:
        """Take back what an agent that crashed left, and look whether all is free."""
        if self._applies:
            self._file = JournalFile(self._folder, here())
            outcome = undo.restore(self._file, connect=self._connect)
            for line in outcome.lines():
                _log.info("tuning of an earlier agent", outcome=line)
            if outcome.failed:
                raise TuningRefusedError(Refusal.NO_JOURNAL, outcome.failed[0])
            if outcome.left:
                self._say(left=tuple(outcome.left[-32:]))
        if nft.present() is not None:
            raise TuningRefusedError(
                Refusal.TABLE_EXISTS,
                f"there is a table {ruleset.FAMILY} {ruleset.TABLE} that this agent did not make; delete it, or "
                "stop the agent that did",
            )
        self._table = self._connect()
        return self._table

    def _check(self, table: ConnectionTable) -> None:
        """Raises TuningRefusedError when others use the bit."""
        self._disinherit(table)
        rules = ruleset.table(self._options, self._uplinks() if self._options.lower_effort else ())
        if rules != self._rules:
            self._load(rules)

    def _disinherit(self, table: ConnectionTable) -> None:
        """Clear the bit of connections that began with it. Raises TuningRefusedError when others use it."""
        heirs = self._heirs(table.marked(self._options.mark))
        for entry in heirs if self._applies else ():
            table.change(entry, self._options.mark, False)

    def _heirs(self, found: Iterable[Entry]) -> list[Entry]:
        """Of entries with the bit, those that have it from ours. Raises TuningRefusedError when others set it."""
        marked = self._marked.values() if self._applies else ()
        others, heirs = strangers(found, {entry.key for entries in marked for entry in entries})
        if others:
            raise TuningRefusedError(
                Refusal.MARK_IN_USE,
                f"{len(others)} connections that this agent did not mark have bit {self._options.mark:#x} of "
                "their mark; somebody else uses it: choose another bit",
            )
        return heirs

    def _load(self, rules: str) -> None:
        replaces = bool(self._rules)
        if not self._applies:
            nft.load(rules, check=True)
        else:
            if replaces and self._record is not None and nft.present() != self._record.form:
                raise TuningRefusedError(
                    Refusal.TABLE_EXISTS, f"somebody changed the table {ruleset.FAMILY} {ruleset.TABLE}"
                )
            self._record = TableRecord()
            self._keep_journal()
            nft.load(ruleset.replacing(rules) if replaces else rules)
            self._record = TableRecord(nft.present())
            self._keep_journal()
        self._rules = rules
        self._say(rules=rules, refusal=None, message="")
        _log.info("tuning: rules", applied=self._applies, rules=rules)

    def _follow(self, table: ConnectionTable, elephants: tuple[Flow, ...], now: float) -> None:
        self._budget = self._budget.refilled(now)
        self._unknown = {flow: at for flow, at in self._unknown.items() if flow in elephants and now < at}
        step = plan(elephants, self._marked, self._unknown, self._budget.available)
        self._clear(table, step.clear)
        self._mark(table, step.mark, now)
        before, unknown = self.status, len(self._unknown)
        if step.mark or step.clear or (step.waiting, unknown) != (before.waiting, before.unknown):
            self._say(flows=tuple(self._marked), waiting=step.waiting, unknown=unknown)

    def _mark(self, table: ConnectionTable, flows: tuple[Flow, ...], now: float) -> None:
        self._budget = self._budget.taken(len(flows)) if flows else self._budget
        found = {flow: tuple(table.of(flow)) for flow in flows}
        new = {flow: entries for flow, entries in found.items() if entries}
        self._unknown |= {flow: now + ASK_AGAIN for flow in flows if flow not in new}
        if not new:
            return
        bit = self._options.mark
        self._heirs(one for entries in new.values() for one in entries if one.mark & bit)
        self._marked |= new
        self._log_flows("tuning: elephants marked" if self._applies else "tuning: elephants to mark", new)
        if not self._applies:
            return
        self._keep_journal()
        for entry in (entry for entries in new.values() for entry in entries):
            table.change(entry, bit, True)
        self._say(marks_set=self.status.marks_set + len(new))

    def _clear(self, table: ConnectionTable, flows: tuple[Flow, ...]) -> None:
        """The flows are elephants no more, or have ended."""
        if not flows:
            return
        gone = {flow: self._marked.pop(flow) for flow in flows}
        self._log_flows("tuning: no elephants any more", gone)
        if not self._applies:
            return
        outcome = Outcome()
        undo.clear([self._mark_record(one) for entries in gone.values() for one in entries], table, outcome)
        self._keep_journal()
        self._say(
            marks_cleared=self.status.marks_cleared + len(gone), left=(*self.status.left, *outcome.left)[-32:]
        )

    def _keep_journal(self) -> None:
        if self._file is None:
            return
        marks = (self._mark_record(entry) for entries in self._marked.values() for entry in entries)
        table = (self._record,) if self._record is not None else ()
        self._file.write(Journal(boot_id(), here(), (*table, *marks)))

    def _mark_record(self, entry: Entry) -> MarkRecord:
        return MarkRecord(entry.key, entry.ident, self._options.mark)

    def _refuse(self, refused: TuningRefusedError, now: float) -> None:
        if self.status.refusal is not refused.refusal:
            _log.warning("tuning: refused", part="priority", reason=refused.refusal.value, problem=str(refused))
        self.withdraw()
        self._retry_at = now + RETRY
        self._say(refusal=refused.refusal, message=str(refused), refusals=self.status.refusals + 1)

    def _log_flows(self, what: str, flows: Iterable[Flow]) -> None:
        named = [str(flow) for flow in flows]
        _log.info(what, applied=self._applies, count=len(named), flows=named[:_LOGGED])

    def _say(self, **changes: object) -> None:
        self.status = replace(self.status, **changes)  # type: ignore[arg-type]
