# SPDX-License-Identifier: Apache-2.0
"""What a view says, as lines, as JSON and as tables."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import orjson
import pytest
import structlog
from rich.console import Console

from footprint.classes import TrafficClass
from footprint.models import LinkRates, NodeFootprint, PodFootprint
from nodeagent.measuring.link_meter import LinkMeter
from nodeagent.node.link import Link, LinkCounters
from nodeagent.node.pods import LocalPod
from nodeagent.sources.base import HOST, UNATTRIBUTED, Counters, Elephant, LossKind, Reading
from nodeagent.top import formatting as spelling
from nodeagent.top import lines, table
from nodeagent.top.notes import Warnings, formatted, hints
from nodeagent.top.view import View, build

BACKUP = LocalPod(uid="uid-1", ns="shop", name="backup", workload="Job/backup")
CART = LocalPod(uid="uid-2", ns="shop", name="cart", workload="Deployment/cart")
VM = LocalPod(uid="uid-3", ns="lab", name="virt", workload="", vm="old")
FLOW = Elephant(
    owners=("uid-1",), protocol=6, source="10.0.0.1:4000", destination="10.9.0.1:80", bytes=120_000_000, rate=80e6,
    since=90.0,
)  # fmt: skip


def pod(info: LocalPod, **figures: Any) -> PodFootprint:
    cls = figures.pop("cls", TrafficClass.UNKNOWN)
    return PodFootprint(uid=info.uid, ns=info.ns, name=info.name, wl=info.workload, cls=cls, **figures)


def made(**changes: Any) -> View:
    reading = Reading(
        taken_at=100.0,
        epoch=1,
        owners={
            "uid-1": Counters(tx_bytes=120_000_000, rx_bytes=900),
            "uid-2": Counters(tx_bytes=10, flows_ended=4),
        },
        elephants=(replace(FLOW, rate=1e6, source="10.0.0.1:1"), FLOW),
        lost={LossKind.EVENTS_OVERRUN: 3, LossKind.MALFORMED: 0},
        flows=7,
    )
    node = NodeFootprint(
        src="ctnetlink",
        cap=LinkRates(100e6, 200e6),
        pods=(
            pod(CART, cls=TrafficClass.MOUSE, tx=2e6, rx=3e6, nf=12.5, ms=0.95),
            pod(BACKUP, cls=TrafficClass.ELEPHANT, tx=81e6, rx=1e5, etx=80e6, erx=9e4, el=2),
        ),
        el=LinkRates(80e6, 9e4),
    )
    others = NodeFootprint(
        src="ctnetlink",
        cap=LinkRates(),
        pods=tuple(pod(LocalPod(uid=name, ns="", name=name, workload="")) for name in (HOST, UNATTRIBUTED)),
    )
    values: dict[str, Any] = {
        "time": "2030-01-01T00:00:00Z", "reading": reading, "node": node, "others": others,
        "pods": {p.uid: p for p in (BACKUP, CART, VM)}, "link": Link("eth0", node.cap),
        "used": LinkRates(90e6, 4e6), "coverage": 0.98,
    }  # fmt: skip
    return build(**{**values, **changes})


def drawn(view: View, *, width: int = 120, height: int = 40) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    console.print(table.render(view, width, height))
    text = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    assert isinstance(text, str)
    return text


def test_the_busiest_owner_and_the_fastest_elephant_come_first() -> None:
    view = made()
    assert [row.name for row in view.owners] == ["shop/backup", "shop/cart", "host", "unattributed"]
    assert [row.rate for row in view.elephants] == [80e6, 1e6]
    assert view.elephants[0].owners == ("shop/backup",)
    assert view.elephants[0].age == 10.0
    assert view.utilisation == LinkRates(0.9, 0.02)


def test_an_owner_that_nobody_names_any_more_keeps_its_uid_and_a_vm_its_name() -> None:
    elephants = (replace(FLOW, owners=("gone", "uid-3")),)
    view = made(reading=Reading(taken_at=100.0, epoch=1, owners={}, elephants=elephants))
    assert view.elephants[0].owners == ("gone", "lab/virt (VM old)")


def test_without_an_interface_the_link_carries_what_the_owners_do() -> None:
    view = made(used=None, link=Link(None, LinkRates()))
    assert view.used == LinkRates(83e6, 3.1e6)
    assert view.utilisation is None
    assert lines.link(view) == "link (not known), capacity not known"


def test_lines_stand_alone_and_leave_out_the_idle() -> None:
    view = made(notes=("one", "two"))
    text = list(lines.text_lines(view, ("one",)))
    assert text == [
        "2030-01-01T00:00:00Z link eth0, 100 Mbit/s tx and 200 Mbit/s rx, "
        "tx 90 Mbit/s (90%, elephants 80 Mbit/s), rx 4 Mbit/s (2%, elephants 90 kbit/s), "
        "source ctnetlink, 7 flows, coverage 98%",
        "2030-01-01T00:00:00Z elephant shop/backup: 10.0.0.1:4000 -> 10.9.0.1:80 tcp, "
        "80 Mbit/s, 120 MB carried, 10s",
        "2030-01-01T00:00:00Z elephant shop/backup: 10.0.0.1:1 -> 10.9.0.1:80 tcp, 1 Mbit/s, 120 MB carried, 10s",
        "2030-01-01T00:00:00Z owner shop/backup: tx 81 Mbit/s, rx 100 kbit/s, "
        "elephants 80 Mbit/s / 90 kbit/s, 0/s new flows, mice -, elephant",
        "2030-01-01T00:00:00Z owner shop/cart: tx 2 Mbit/s, rx 3 Mbit/s, "
        "elephants -, 12.5/s new flows, mice 95%, mouse",
        "2030-01-01T00:00:00Z lost events-overrun 3",
        "2030-01-01T00:00:00Z note two",
    ]


def test_json_has_whole_numbers_in_si_units_and_null_for_the_unknown() -> None:
    read = orjson.loads(orjson.dumps(lines.as_json(made(coverage=None))))
    assert read["link"] == {
        "interface": "eth0", "capacity": {"tx": 100_000_000, "rx": 200_000_000},
        "used": {"tx": 90_000_000, "rx": 4_000_000}, "elephants": {"tx": 80_000_000, "rx": 90_000},
        "utilisation": {"tx": 0.9, "rx": 0.02}, "coverage": None, "local": 0,
    }  # fmt: skip
    assert read["elephants"][0] == {
        "owners": ["shop/backup"], "protocol": "tcp", "source": "10.0.0.1:4000", "destination": "10.9.0.1:80",
        "rate": 80_000_000, "bytes": 120_000_000, "age": 10.0, "local": False,
    }  # fmt: skip
    assert read["owners"][0]["uid"] == "uid-1"
    assert (read["owners"][0]["tx_bytes"], read["owners"][0]["mice_share"]) == (120_000_000, None)
    assert read["owners"][1]["mice_share"] == 0.95
    assert "uid" not in read["owners"][2]
    assert read["lost"] == {"events-overrun": 3}


def test_tables_show_elephants_owners_losses_and_notes() -> None:
    text = drawn(made(notes=("look here",)))
    for part in (
        "link eth0, 100 Mbit/s tx and 200",
        "tx 90 Mbit/s (90%",
        "shop/backup",
        "10.9.0.1:80",
        "120 MB",
        "mouse",
        "95%",
    ):
        assert part in text
    assert "lost: events-overrun 3" in text
    assert "note: look here" in text
    assert "more" not in text


@pytest.mark.parametrize("height", [17, 24, 50])
def test_a_picture_fits_its_terminal_and_counts_the_rest(height: int) -> None:
    flows = tuple(replace(FLOW, source=f"10.0.0.1:{port}") for port in range(100))
    view = made(reading=Reading(taken_at=100.0, epoch=1, owners={}, elephants=flows))
    owners = tuple(replace(view.owners[0], name=f"shop/pod-{number}") for number in range(80))
    text = drawn(replace(view, owners=owners), height=height)
    assert text.count("\n") <= height
    listed = text.count("10.0.0.1:")
    assert f"... and {100 - listed} more" in text
    assert f"... and {80 - text.count('shop/pod-')} more" in text


def test_a_name_is_never_read_as_markup() -> None:
    view = made()
    hostile = replace(view, owners=(replace(view.owners[0], name="[bold]x[/nothing]"),))
    assert "[bold]x[/nothing]" in drawn(hostile)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (spelling.size(0), "0 B"),
        (spelling.size(999), "999 B"),
        (spelling.size(1_234_567_890), "1.23 GB"),
        (spelling.age(59.9), "59s"),
        (spelling.age(200), "3m20s"),
        (spelling.age(7500), "2h05m"),
        (spelling.rate(0.3), "0"),
        (spelling.rate(2e6), "2 Mbit/s"),
        (spelling.share(None), "-"),
        (spelling.share(0.956), "96%"),
        (spelling.per_second(0.001), "0/s"),
        (spelling.per_second(0.1), "0.1/s"),
    ],
)
def test_quantities_are_formatted_for_people(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"flows": 0}, "no connection is tracked"),
        ({"interface": None}, "--uplink"),
        ({"capacity": LinkRates()}, "--link-capacity"),
        ({"low_coverage": True}, "bypasses"),
        ({"too_much": True}, "scaled down"),
        ({"lost": {LossKind.NO_COUNTERS: 1}}, "older than byte accounting"),
    ],
)
def test_what_makes_figures_doubtful_is_said_with_its_remedy(changes: dict[str, Any], told: str) -> None:
    said = {
        "flows": 1,
        "lost": {},
        "interface": "eth0",
        "capacity": LinkRates(1.0, 1.0),
        "low_coverage": False,
        "too_much": False,
    }

    def told_of(values: dict[str, Any]) -> tuple[str, ...]:
        reading = Reading(taken_at=1.0, epoch=1, owners={}, flows=values.pop("flows"), lost=values.pop("lost"))
        return hints(reading, **values)

    assert told_of(dict(said)) == ()
    [note] = told_of({**said, **changes})
    assert told in note


def test_warnings_become_notes_each_once_and_only_the_latest_stay() -> None:
    warnings = Warnings()
    before = structlog.get_config()
    try:
        warnings.configure()
        log = structlog.get_logger()
        log.info("not said")
        for number in (1, 2, 3, 1, 4, 5, 6):
            log.warning("again", number=number)
    finally:
        structlog.configure(**before)
    assert warnings.texts == tuple(f"again (number={n})" for n in (3, 1, 4, 5, 6))
    assert formatted({"event": "a\nb\x1b[2J", "value": 1}) == "a b [2J (value=1)"


def rates(tx: float, rx: float) -> Any:
    exact: Any = LinkRates
    return exact(pytest.approx(tx), pytest.approx(rx))


def test_the_meter_takes_no_rate_from_one_reading_another_interface_or_counters_that_started_over() -> None:
    meter = LinkMeter()
    assert meter.advance("eth0", LinkCounters(0, 0), 1.0) is None
    assert meter.advance("eth0", LinkCounters(1000, 500), 2.0) == rates(8000, 4000)
    assert meter.advance("eth1", LinkCounters(9000, 9000), 3.0) is None
    assert meter.advance("eth1", LinkCounters(9000, 9125), 4.0) == rates(0, 1000)
    assert meter.advance("eth1", LinkCounters(5, 5), 5.0) is None
    assert meter.advance("eth1", None, 6.0) is None
    assert meter.advance(None, None, 7.0) is None
    assert meter.advance("eth1", LinkCounters(5, 5), 8.0) is None
