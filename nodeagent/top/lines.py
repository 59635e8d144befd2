# SPDX-License-Identifier: Apache-2.0
"""A view as text lines that can be appended and searched, and as one JSON object; pure.

Every line of text begins with the time and with what it is about (``link``, ``elephant``, ``owner``, ``lost``,
``note``, ``uplink``), so that it stands alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from footprint.models import LinkRates, Uplink
from nodeagent.top import formatting
from nodeagent.top.view import ElephantRow, OwnerRow, View


def link(view: View) -> str:
    """``link eth0, 1 Gbit/s per direction``."""
    tx, rx = view.capacity.tx, view.capacity.rx
    if not tx or not rx:
        capacity = "capacity not known"
    elif tx == rx:
        capacity = f"{formatting.rate(tx)} per direction"
    else:
        capacity = f"{formatting.rate(tx)} tx and {formatting.rate(rx)} rx"
    return f"link {view.interface or '(not known)'}, {capacity}"


def use(view: View) -> tuple[str, str]:
    """What the link carries: transmitted, received."""
    part = view.utilisation
    return (
        formatting.direction("tx", view.used.tx, view.by_elephants.tx, part.tx if part else None),
        formatting.direction("rx", view.used.rx, view.by_elephants.rx, part.rx if part else None),
    )


def health(view: View) -> str:
    """How it was measured, and how much of it was."""
    facts = [f"source {view.source}", f"{view.flows} flows"]
    if view.coverage is not None:
        facts.append(f"coverage {formatting.share(view.coverage)}")
    if view.local >= 1:
        facts.append(f"inside this machine {formatting.rate(view.local)}")
    return ", ".join(facts)


def losses(view: View) -> str:
    """Empty when nothing was lost."""
    return ", ".join(f"{kind} {count}" for kind, count in view.lost.items())


def text_lines(view: View, known_notes: tuple[str, ...] = ()) -> Iterator[str]:
    """Owners without traffic and notes that were shown before are left out."""
    yield f"{view.time} {', '.join((link(view), *use(view), health(view)))}"
    for one in view.uplinks:
        yield f"{view.time} uplink {_uplink(one)}"
    for flow in view.elephants:
        yield f"{view.time} elephant {_elephant(flow)}"
    for owner in view.owners:
        if not owner.idle:
            yield f"{view.time} owner {_owner(owner)}"
    if view.lost:
        yield f"{view.time} lost {losses(view)}"
    for note in view.notes:
        if note not in known_notes:
            yield f"{view.time} note {note}"


def _uplink(link: Uplink) -> str:
    capacity = formatting.pair(link.cap) if link.cap.busier else "not known"
    return (
        f"{link.name}: carries {formatting.pair(link.used)}, elephants {formatting.pair(link.el)}, "
        f"capacity {capacity}"
    )


def _elephant(flow: ElephantRow) -> str:
    local = ", inside this machine" if flow.local else ""
    return (
        f"{', '.join(flow.owners)}: {flow.source} -> {flow.destination} {flow.protocol}, "
        f"{formatting.rate(flow.rate)}, {formatting.size(flow.carried)} carried, {formatting.age(flow.age)}{local}"
    )


def _owner(row: OwnerRow) -> str:
    return (
        f"{row.name}: tx {formatting.rate(row.rates.tx)}, rx {formatting.rate(row.rates.rx)}, "
        f"elephants {formatting.pair(row.elephants)}, {formatting.per_second(row.new_flows)} new flows, "
        f"mice {formatting.share(row.mice_share)}, {row.cls}"
    )


def as_json(view: View) -> dict[str, Any]:
    """Rates in bit/s, sizes in bytes, times in seconds, shares 0-1; null: not known."""
    part = view.utilisation
    return {
        "time": view.time,
        "source": view.source,
        "epoch": view.epoch,
        "flows": view.flows,
        "link": {
            "interface": view.interface,
            "capacity": _rates(view.capacity) if part else None,
            "used": _rates(view.used),
            "elephants": _rates(view.by_elephants),
            "utilisation": {"tx": round(part.tx, 4), "rx": round(part.rx, 4)} if part else None,
            "coverage": None if view.coverage is None else round(view.coverage, 4),
            "local": round(view.local),
        },
        **({"uplinks": [_uplink_json(one) for one in view.uplinks]} if view.uplinks else {}),
        "elephants": [_elephant_json(flow) for flow in view.elephants],
        "owners": [_owner_json(row) for row in view.owners],
        "lost": dict(view.lost),
        "notes": list(view.notes),
    }


def _rates(rates: LinkRates) -> dict[str, int]:
    return {"tx": round(rates.tx), "rx": round(rates.rx)}


def _uplink_json(link: Uplink) -> dict[str, Any]:
    return {
        "interface": link.name,
        "capacity": _rates(link.cap) if link.cap.busier else None,
        "used": _rates(link.used),
        "elephants": _rates(link.el),
    }


def _elephant_json(flow: ElephantRow) -> dict[str, Any]:
    return {
        "owners": list(flow.owners),
        "protocol": flow.protocol,
        "source": flow.source,
        "destination": flow.destination,
        "rate": round(flow.rate),
        "bytes": flow.carried,
        "age": round(flow.age, 1),
        "local": flow.local,
    }


def _owner_json(row: OwnerRow) -> dict[str, Any]:
    counted = row.counted
    return {
        "name": row.name,
        **({"uid": row.uid} if row.uid else {}),
        "class": row.cls.value,
        **_rates(row.rates),
        "elephants": {"flows": row.elephant_flows, **_rates(row.elephants)},
        "new_flows": round(row.new_flows, 3),
        "mice_share": None if row.mice_share is None else round(row.mice_share, 4),
        "tx_bytes": counted.tx_bytes,
        "rx_bytes": counted.rx_bytes,
        "local_bytes": counted.local_bytes,
        "flows_born": counted.flows_born,
        "flows_ended": counted.flows_ended,
    }
