# SPDX-License-Identifier: Apache-2.0
"""What the part says and refuses, with a table of connections and an nft that stand in for the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeagent.tuning import nft
from nodeagent.tuning.conntrack_wire import Entry
from nodeagent.tuning.flows import Flow
from nodeagent.tuning.modes import Mode, PriorityOptions, Refusal
from nodeagent.tuning.part import ASK_AGAIN, CHECK, PriorityPart
from tests.nodeagent.tuning.test_pure import ONE, TWO, key


class Table:
    """Connections by flow."""

    def __init__(self, known: dict[Flow, Entry]) -> None:
        self.known = known

    def of(self, flow: Flow) -> list[Entry]:
        return [self.known[flow]] if flow in self.known else []

    def marked(self, bit: int) -> list[Entry]:
        return [entry for entry in self.known.values() if entry.mark & bit]

    def current(self, entry: Entry) -> Entry | None:
        return next((known for known in self.known.values() if known.ident == entry.ident), None)

    def change(self, entry: Entry, bit: int, value: bool) -> bool:
        for flow, known in self.known.items():
            if known.ident == entry.ident:
                self.known[flow] = known._replace(mark=known.mark | bit if value else known.mark & ~bit)
                return True
        return False

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_nft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nft, "present", lambda: None)
    monkeypatch.setattr(nft, "load", lambda _script, **_options: None)


def part(folder: Path, mode: Mode, table: Table) -> PriorityPart:
    return PriorityPart(PriorityOptions(mode=mode), folder, lambda: (), connect=lambda: table)


def test_an_elephant_that_has_ended_is_no_unknown_one_any_more(tmp_path: Path) -> None:
    tuning = part(tmp_path, Mode.ADVISE, Table({}))
    tuning.advance((ONE,), 0.0)
    tuning.advance((ONE,), ASK_AGAIN / 2)
    assert tuning.status.unknown == 1
    tuning.advance((), ASK_AGAIN - 1)
    assert tuning.status.unknown == 0


def test_a_bit_that_somebody_set_on_an_elephant_is_not_taken_for_ours(tmp_path: Path) -> None:
    table = Table({})
    tuning = part(tmp_path, Mode.APPLY, table)
    tuning.advance((), 0.0)
    others = Entry(key(TWO), 2, PriorityOptions().mark)
    table.known |= {ONE: Entry(key(ONE), 1), TWO: others}
    tuning.advance((ONE, TWO), CHECK / 2)
    assert tuning.status.refusal is Refusal.MARK_IN_USE
    assert table.known[TWO] == others
    tuning.withdraw()
    assert table.known[TWO] == others


def test_an_advice_does_not_take_others_marks_for_its_own(tmp_path: Path) -> None:
    table = Table({ONE: Entry(key(ONE), 1)})
    advice = part(tmp_path, Mode.ADVISE, table)
    advice.advance((ONE,), 0.0)
    assert advice.status.flows == (ONE,)
    table.change(table.known[ONE], PriorityOptions().mark, True)
    advice.advance((ONE,), CHECK)
    assert advice.status.refusal is Refusal.MARK_IN_USE


def test_connections_that_inherited_the_bit_lose_it_when_tuning_ends(tmp_path: Path) -> None:
    table = Table({ONE: Entry(key(ONE), 1)})
    tuning = part(tmp_path, Mode.APPLY, table)
    tuning.advance((ONE,), 0.0)
    table.known[TWO] = Entry(key(TWO), 2, PriorityOptions().mark | 1, master=True)
    tuning.withdraw()
    assert [entry.mark for entry in table.known.values()] == [0, 1]
