# SPDX-License-Identifier: Apache-2.0
"""The pods of this machine and their addresses, from a file instead of a cluster.

Enters: a text, either lines ``ADDRESS NAME`` (``#`` begins a comment; an owner with several addresses has several
lines) or what ``kubectl get pods -o json`` prints. Leaves: ``Resident`` values. Guarantees: pure; every text gives
residents or a ``PodsFileError`` that names the line (or the pod's place in the list) and what to write instead.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from nodeagent.node.pods import LocalPod, decode_pod
from nodeagent.sources.base import NO_PODS

_FORM: Final = "write ADDRESS NAME, such as `10.244.1.7 shop/cart`"


class PodsFileError(ValueError):
    """The text is not a list of pods; the message is one line."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A named owner of addresses, and the machine it was reported to run on."""

    pod: LocalPod
    machines: frozenset[bytes] = frozenset()
    """Packed addresses of its machine (``status.hostIPs``); empty: not said."""


def parse(text: str) -> tuple[Resident, ...]:
    """Residents in the order in which they were first named. Raises PodsFileError."""
    return tuple(_from_json(text) if text.lstrip()[:1] in ("{", "[") else _from_lines(text))


def living_here(residents: Iterable[Resident], node: frozenset[bytes]) -> tuple[LocalPod, ...]:
    """Without those that were reported to run on another machine: a cluster's whole list may be given, but both
    ends of a flow on this machine means that the flow never used the link. ``node``: this machine's addresses."""
    return tuple(r.pod for r in residents if not r.machines or r.machines & node)


def _from_lines(text: str) -> list[Resident]:
    addresses: dict[str, list[bytes]] = {}
    owners: dict[bytes, tuple[str, int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = _words(line)
        if not words:
            continue
        address, name = _entry(words, number)
        before = owners.setdefault(address, (name, number))
        if before[0] != name:
            raise PodsFileError(
                f"line {number}: {ipaddress.ip_address(address)} belongs to {before[0]!r} already "
                f"(line {before[1]}); an address has one owner"
            )
        if before[1] == number:
            addresses.setdefault(name, []).append(address)
    return [
        Resident(LocalPod(uid=name, ns="", name=name, workload="", addresses=tuple(packed)))
        for name, packed in addresses.items()
    ]


def _words(line: str) -> list[str]:
    """What stands before a comment; a ``#`` inside a word is part of it."""
    words = line.split()
    comment = next((i for i, word in enumerate(words) if word.startswith("#")), len(words))
    return words[:comment]


def _entry(words: list[str], number: int) -> tuple[bytes, str]:
    if len(words) != 2:
        what = f"{words[0][:60]!r} has no name" if len(words) == 1 else f"{len(words)} words"
        raise PodsFileError(f"line {number}: {what}; {_FORM}")
    try:
        address = ipaddress.ip_address(words[0]).packed
    except ValueError:
        raise PodsFileError(f"line {number}: {words[0][:60]!r} is not an IP address; {_FORM}") from None
    if problem := _problem(words[1]):
        raise PodsFileError(f"line {number}: {problem}")
    return address, words[1]


def _problem(name: str) -> str:
    """Why ``name`` cannot be shown; empty: it can."""
    if not name.isprintable():
        return f"the name {name[:60]!r} has characters that a terminal would obey"
    if name in NO_PODS:
        return f"{name!r} names this machine's own traffic or nobody's; choose another name"
    return ""


def _from_json(text: str) -> Iterator[Resident]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise PodsFileError(f"line {error.lineno}: not valid JSON ({error.msg})") from None
    for number, item in enumerate(_items(document), start=1):
        if isinstance(item, Mapping) and item.get("kind", "Pod") != "Pod":
            continue  # `kubectl get all` lists other things as well
        try:
            yield _decoded(item)
        except PodsFileError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError):
            raise PodsFileError(
                f"pod {number} of the list is not a Pod object; give what `kubectl get pods -o json` prints"
            ) from None


def _items(document: Any) -> list[Any]:
    if isinstance(document, list):
        return document
    if isinstance(document.get("items"), list):
        return list(document["items"])
    if document.get("kind") == "Pod":
        return [document]
    raise PodsFileError("line 1: JSON without a list of pods; give what `kubectl get pods -o json` prints")


def _decoded(item: dict[str, Any]) -> Resident:
    pod = decode_pod(item)
    for name in (pod.uid, pod.ns, pod.name):
        if not isinstance(name, str):
            raise TypeError(name)
        if problem := _problem(name):
            raise PodsFileError(f"pod {pod.name!r} of the list: {problem}")
    status = item.get("status") or {}
    texts = [entry.get("ip") for entry in status.get("hostIPs") or ()] + [status.get("hostIP")]
    return Resident(pod, frozenset(ipaddress.ip_address(text).packed for text in texts if text))
