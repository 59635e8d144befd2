# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from footprint.classes import TrafficClass
from plugin.listing.gathering import Node
from plugin.published import Heartbeat, published
from plugin.top.layout import FRAME, Line, Picture, bar, rows_of, screen
from plugin.top.state import State, View
from tests.extender.builders import M, annotation, elephant, mouse, node_json

BEAT = Heartbeat("2026-01-01T00:00:00Z", 7.0)
NODES = [
    Node(published(node_json("a", annotation(elephant("big", tx=150 * M), mouse("small", nf=9)))), BEAT),
    Node(published(node_json("b", annotation(elephant("middle", tx=40 * M)))), BEAT._replace(seconds=900.0)),
    Node(published(node_json("c")), None),
]
PICTURE = Picture("https://server", NODES)


def text(lines: list[Line]) -> list[str]:
    return ["".join(part.text for part in line).rstrip() for line in lines]


def names(state: State, namespace: str | None = None) -> list[str]:
    rows = rows_of(PICTURE, state, namespace)
    return [row.name if isinstance(row, Node) else row.pod.name for row in rows]


@pytest.mark.parametrize(
    ("state", "order"),
    [
        (State(), ["big", "middle", "small"]),
        (State(reversed=True), ["small", "middle", "big"]),
        (State(sort_by="pod"), ["big", "middle", "small"]),
        (State(sort_by="flows-per-s"), ["small", "big", "middle"]),
        (State(cls=TrafficClass.MOUSE), ["small"]),
        (State(text="MIDD"), ["middle"]),
        (State(text="nothing"), []),
        (State(view=View.NODES), ["a", "b", "c"]),
        (State(view=View.NODES, sort_by="node"), ["a", "b", "c"]),
        (State(view=View.NODES, text="footprint yet"), ["c"]),
    ],
)
def test_elephants_come_first_unless_a_person_chose_otherwise(state: State, order: list[str]) -> None:
    assert names(state) == order


def test_a_namespace_can_be_all_that_is_shown() -> None:
    assert names(State(), "other") == []


def test_the_screen_says_what_is_shown_and_what_is_missing() -> None:
    rows = rows_of(PICTURE, State())
    told = text(screen(PICTURE, State(), rows, clock="12:00:00", width=120, height=8))
    assert told == [
        "12:00:00  https://server  3 nodes (1 without a footprint, 1 stale)  3 pods: 2 elephant, 1 mouse",
        "3 pods, by elephant traffic",
        "NAMESPACE  POD     NODE  CLASS     TX          RX        ELEPHANTS  FLOWS/S  WORKLOAD        SEEN",
        "default    big     a     elephant  150 Mbit/s  0 bit/s   1          0.1      Job/bulk        7 s ago",
        "default    middle  b     elephant  40 Mbit/s   0 bit/s   1          0.1      Job/bulk        "
        "15 min ago, stale",
        "default    small   a     mouse     1 Mbit/s    1 Mbit/s  0          9        Deployment/web  7 s ago",
        "",
        "p pods  n nodes  <> sort  r reverse  / filter  c class  space hold  h help  q quit",
    ]


def test_nodes_have_a_bar_of_their_link() -> None:
    state = State(view=View.NODES)
    told = text(screen(PICTURE, state, rows_of(PICTURE, state), clock="", width=200, height=9))
    assert "########.. 75 %" in told[3]
    assert (bar(0), bar(1), bar(7)) == ("..........", "##########", "##########")


def test_trouble_and_choices_are_said() -> None:
    state = State(text="big", cls=TrafficClass.ELEPHANT, held=True, reversed=True, sort_by="tx")
    broken = replace(PICTURE, trouble="not connected for 5 s: away")
    told = text(screen(broken, state, rows_of(broken, state), clock="", width=200, height=9))
    assert told[1] == "1 pods, by tx, reversed, class elephant, with 'big', held  not connected for 5 s: away"


def test_what_others_wrote_does_not_act_on_the_terminal() -> None:
    hostile = Picture("x", [Node(published(node_json("\x1b[2J")), None)])
    state = State(view=View.NODES)
    told = "".join(text(screen(hostile, state, rows_of(hostile, state), clock="", width=200, height=9)))
    assert told.isprintable()
    assert r"\x1b[2J" in told


@given(st.integers(1, 140), st.integers(1, 30), st.integers(0, 300), st.booleans(), st.sampled_from(View))
def test_no_line_is_wider_and_no_screen_higher_than_the_terminal(
    width: int, height: int, left: int, helping: bool, view: View
) -> None:
    state = State(view=view, left=left, helping=helping)
    lines = screen(PICTURE, state, rows_of(PICTURE, state), clock="12:00:00", width=width, height=height)
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in text(lines))
    assert helping or len(lines) == height or height < FRAME
