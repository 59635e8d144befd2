# SPDX-License-Identifier: Apache-2.0
"""What virtual machines are called, by what libvirt and QEMU say of them. Pure.

Enters: a status file of libvirt, the arguments of a process, its fdinfo. Leaves: names and the names of taps.
Guarantees: whoever starts a program chooses its arguments, so whatever they hold becomes at most ``LONGEST``
printable characters, or nothing. A file that declares a document type or entities is passed over: libvirt writes
none, and they could make a small file large.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

LONGEST: Final = 64
"""Characters of a name."""
MOST_TAPS: Final = 64
"""Of one machine."""
_IFNAMSIZ: Final = 16


@dataclass(frozen=True, slots=True)
class Machine:
    """A virtual machine on this host."""

    name: str
    taps: frozenset[str] = frozenset()
    """Names of its devices in this network namespace."""


def shown(text: str) -> str:
    """``text`` as it may be shown: what a terminal would obey is replaced, and the end of a long one cut."""
    plain = "".join(c if c.isprintable() else "?" for c in text.strip())
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"


def domain(status: bytes) -> Machine | None:
    """A machine from libvirt's status of a running domain; None for anything else."""
    if b"<!" in status.replace(b"<!--", b""):
        return None
    try:
        root = ElementTree.fromstring(status)  # noqa: S314 - no entities in it, see above
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    found = root if root.tag == "domain" else root.find("domain")
    name = shown(found.findtext("name") or "") if found is not None else ""
    if found is None or not name:
        return None
    targets = [target.get("dev", "") for target in found.iterfind("devices/interface/target")]
    return Machine(name, frozenset(filter(_is_device, targets[:MOST_TAPS])))


def called(arguments: Sequence[str], program: str) -> str:
    """Name of the machine that a process runs: QEMU's ``-name``, else its ``-uuid``, else the ``program``."""
    for option, read in (("name", _guest), ("uuid", shown)):
        for word, value in itertools.pairwise(arguments):
            if word in (f"-{option}", f"--{option}") and (name := read(value)):
                return name
    return shown(program)


def _guest(value: str) -> str:
    """Of ``guest=NAME,debug-threads=on`` or ``NAME,process=x``; two commas are one of the name."""
    for number, part in enumerate(value.replace(",,", "\0").split(",")):
        key, equals, rest = part.partition("=")
        if equals and key == "guest":
            return shown(rest.replace("\0", ","))
        if not equals and number == 0:
            return shown(part.replace("\0", ","))
    return ""


def tap_of(fdinfo: str) -> str:
    """Name of the device that a descriptor of /dev/net/tun is attached to; empty: to none."""
    for line in fdinfo.splitlines():
        key, _, value = line.partition(":")
        if key == "iff" and _is_device(value.strip()):
            return value.strip()
    return ""


def _is_device(name: str) -> bool:
    return 0 < len(name) < _IFNAMSIZ and name.isprintable() and not set(name) & {"/", " ", ":"}
