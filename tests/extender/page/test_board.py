# SPDX-License-Identifier: Apache-2.0
"""What the page knows, and how it follows the cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.page import board as board_module
from extender.page import figures
from extender.page.board import FRAMES, MAX_MERGED, Board
from extender.page.decisions import Recorder
from extender.page.history import STEP_SECONDS
from footprint.models import PodFootprint
from tests.extender.builders import M, annotation, elephant, mouse
from tests.extender.states import Clock, measured, settle


def put(state: ClusterState, name: str, *pods: PodFootprint, group: str = "") -> None:
    state.put_nodes([NodeInfo(name, annotation(*pods), group)])
    state.put_lease(LeaseInfo(name, "1"))
    settle(state)


def with_board(act: Callable[[Board, ClusterState, Clock], Awaitable[None]], *nodes: str) -> None:
    async def run() -> None:
        clock = Clock()
        state = measured(clock, nodes or ("a", "b"), {"a": [elephant("e", tx=180 * M), mouse("m")]})
        await act(Board(state, Recorder(), clock=clock), state, clock)

    asyncio.run(run())


def rows_of(body: bytes) -> dict[str, dict[str, Any]]:
    return {row[0]: dict(zip(figures.COLUMNS, row, strict=True)) for row in json.loads(body)["rows"]}


def test_the_whole_has_a_row_for_each_node_and_sums() -> None:
    async def act(board: Board, _state: ClusterState, _clock: Clock) -> None:
        await board.frame()
        rows, totals = rows_of(board.whole()), json.loads(board.whole())["totals"]
        assert rows["a"] == {
            "name": "a", "group": "", "state": "known", "cap_tx": 200_000, "cap_rx": 200_000, "used_tx": 180_000,
            "used_rx": 0, "el_tx": 180_000, "el_rx": 0, "elephants": 1, "mice": 1, "predicted": 0, "collides": 1,
        }  # fmt: skip
        assert rows["b"]["collides"] == 0
        assert (totals["nodes"], totals["collisions"], totals["beside"], totals["states"]) == (
            2,
            1,
            1,
            {"known": 2},
        )

    with_board(act)


def test_a_frame_holds_what_changed_and_nothing_else() -> None:
    async def act(board: Board, state: ClusterState, _clock: Clock) -> None:
        await board.frame()
        before = board.version
        await board.frame()
        assert board.version == before
        assert board.since(before) is None
        put(state, "b", mouse("n"), group="zone-1")
        await board.frame()
        told = board.since(before)
        assert told is not None
        assert rows_of(told[1]).keys() == {"b"}
        assert rows_of(told[1])["b"]["group"] == "zone-1"
        state.drop_node("a")
        settle(state)
        await board.frame()
        told = board.since(before + 1)
        assert told is not None
        assert json.loads(told[1])["gone"] == ["a"]
        assert json.loads(told[1])["totals"]["collisions"] == 0
        assert rows_of(board.whole()).keys() == {"b"}

    with_board(act)


def test_what_changed_while_nobody_looked_or_in_a_failed_round_is_made_up_for() -> None:
    async def act(board: Board, state: ClusterState, _clock: Clock) -> None:
        await board.frame()
        board._following = False
        state.unfollow()
        put(state, "c", mouse("n"))
        state.drop_node("a")
        settle(state)
        await board.frame()
        assert rows_of(board.whole()).keys() == {"b", "c"}
        assert state.changes() == set()
        fresh = figures.totals(state.snapshot.nodes.values())
        assert {key: value for key, value in board.totals().items() if key != "at"} == fresh

    with_board(act)


def test_sums_after_changes_are_those_of_a_fresh_count() -> None:
    async def act(board: Board, state: ClusterState, _clock: Clock) -> None:
        await board.frame()
        put(state, "c", elephant("e2", tx=150 * M), mouse("m2"), mouse("m3"))
        await board.frame()
        put(state, "a", mouse("m"))
        state.drop_lease("b")
        settle(state)
        await board.frame()
        fresh = figures.totals(state.snapshot.nodes.values())
        assert {key: value for key, value in board.totals().items() if key != "at"} == fresh

    with_board(act)


def test_who_fell_behind_gets_everything_missed_in_one_event_with_the_newest_rows() -> None:
    async def act(board: Board, state: ClusterState, _clock: Clock) -> None:
        await board.frame()
        start = board.version
        for rate in (50, 60, 70):
            put(state, "b", elephant("x", tx=rate * M))
            await board.frame()
        state.drop_node("a")
        settle(state)
        await board.frame()
        told = board.since(start)
        assert told is not None
        assert told[0] == board.version
        assert rows_of(told[1])["b"]["el_tx"] == 70_000
        assert json.loads(told[1])["gone"] == ["a"]
        assert board.merged == 1

    with_board(act)


def test_who_fell_too_far_behind_is_told_to_load_the_whole() -> None:
    async def act(board: Board, state: ClusterState, _clock: Clock) -> None:
        await board.frame()
        for number in range(FRAMES + 2):
            put(state, "b", elephant("x", tx=(50 + number) * M))
            await board.frame()
        assert board.since(1) == (board.version, b"")
        assert board.since(10**9) == (board.version, b"")
        assert board.reloads == 2
        assert len(board._frames) == FRAMES

    with_board(act)


def test_an_event_has_a_bounded_number_of_rows() -> None:
    async def act(board: Board, _state: ClusterState, _clock: Clock) -> None:
        await board.frame()
        assert board.since(0) == (1, b"")
        assert len(rows_of(board.whole())) == MAX_MERGED + 1

    with_board(act, *(f"n{number}" for number in range(MAX_MERGED + 1)))


def test_the_history_begins_when_the_extender_does_and_grows_step_by_step() -> None:
    async def act(board: Board, state: ClusterState, clock: Clock) -> None:
        await board.sample()
        clock.now += 2 * STEP_SECONDS
        put(state, "a", elephant("e", tx=100 * M))
        await board.sample()
        node = board.node("a")
        assert node is not None
        assert node["history"]["el_tx"][-4:] == [None, 0.9, None, 0.5]
        assert node["history"]["el_tx"][:-4] == [None] * 116
        assert board.gains()["links"][-4:] == [None, 1, None, 0]
        await board.frame()
        listed = json.loads(await board.workload_list())["workloads"]
        bulk = next(one for one in listed if one["workload"] == "Job/bulk")
        assert bulk["history"][-3:][1] is None
        assert abs(bulk["history"][-1] / (100 * M) - 1) < 0.07
        assert node["pods"][0]["workload"] == "Job/bulk"

    with_board(act)


def test_an_unknown_node_has_no_history_and_says_why() -> None:
    async def act(board: Board, state: ClusterState, clock: Clock) -> None:
        clock.now += 500
        settle(state)
        await board.sample()
        node = board.node("a")
        assert node is not None
        assert node["state"] == "stale"
        assert "has not renewed its Lease" in node["why"]
        assert set(node["history"]["used_tx"]) == {None}
        assert board.node("nobody") is None

    with_board(act)


def test_work_goes_on_in_slices_so_that_others_have_their_turn() -> None:
    async def act(board: Board, _state: ClusterState, _clock: Clock) -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(others())
        await board.frame()
        beside.cancel()
        assert turns > 10

    assert board_module.SLICE_SECONDS < 0.001
    with_board(act, *(f"n{number}" for number in range(2000)))


def test_a_fault_costs_a_round_and_is_counted() -> None:
    async def act(board: Board, _state: ClusterState, _clock: Clock) -> None:
        rounds = 0

        async def broken() -> None:
            nonlocal rounds
            rounds += 1
            raise RuntimeError("on purpose")

        board.sample = broken  # type: ignore[method-assign]
        task = asyncio.create_task(board.run())
        while not board.failures:  # noqa: ASYNC110 - the board says it nowhere else
            await asyncio.sleep(0.01)
        task.cancel()
        assert (rounds, board.failures) == (1, 1)

    with_board(act)
