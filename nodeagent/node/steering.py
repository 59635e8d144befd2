# SPDX-License-Identifier: Apache-2.0
"""Programs and devices by which packets may pass connection tracking by, as some network plugins' do.

Enters: this network namespace. Leaves: ``Steering`` values. Effects: rtnetlink, and bpf(2) queries; attaches
nothing, changes nothing. Guarantees: at most ``MOST_INTERFACES`` interfaces are asked about, and at most
``MOST_NAMED`` findings returned. What a program does cannot be read from outside: only the coverage tells that.
"""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from nodeagent.node.netlink import attributes, listing
from nodeagent.node.uplinks.interfaces import IFINFOMSG, Interface, parse_interface, text
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.bpf import AttachType

MOST_INTERFACES: Final = 1024
MOST_NAMED: Final = 4096
_SHOWN: Final = 3

_RTM_GETLINK, _RTM_GETTFILTER = 18, 46
_SKIP_STATISTICS: Final = struct.pack("=HHI", 8, 29, 8)
_TCMSG: Final = struct.Struct("=BxxxiIII")
_TC_HOOKS: Final = {"tc ingress": 0xFFFF_FFF2, "tc egress": 0xFFFF_FFF3}
_TCA_KIND, _TCA_OPTIONS, _TCA_BPF_NAME, _TCA_BPF_ID = 1, 2, 7, 11
_IFLA_XDP, _XDP_ATTACHED, _XDP_PROGRAM = 43, 2, 4
_BY_QUERY: Final = {
    "tcx ingress": AttachType.TCX_INGRESS,
    "tcx egress": AttachType.TCX_EGRESS,
    "netkit primary": AttachType.NETKIT_PRIMARY,
    "netkit peer": AttachType.NETKIT_PEER,
}
_PLUGINS: Final = {
    "Cilium": ("cil_", "cilium", "lxc"),
    "Calico": ("cali_", "calico", "cali"),
    "Antrea": ("antrea",),
    "AWS network policy agent": ("handle_ingress", "handle_egress"),
}
"""Who names programs and devices so: program names first, then the devices' beginnings."""


@dataclass(frozen=True, slots=True)
class Steering:
    """A program where it can send packets past the node's network stack, or a device that is made for that."""

    interface: str
    hook: str
    """``tc ingress``, ``tcx egress``, ``netkit peer``, ``xdp``, or ``netkit`` for the device itself."""
    program: str = ""
    """Its name, else its number; empty for a device."""

    @property
    def plugin(self) -> str:
        """Whose it is, by its name; empty: not known."""
        for plugin, beginnings in _PLUGINS.items():
            if self.program.startswith(beginnings) or self.interface.startswith(beginnings):
                return plugin
        return ""


def read_steering(uplinks: Iterable[str] = ()) -> tuple[Steering, ...]:
    """What is at the pods' devices (veth, netkit) and at ``uplinks``. Raises OSError: links are not listed."""
    wanted, asked = set(uplinks), 0
    found: list[Steering] = []
    for body in listing(_RTM_GETLINK, IFINFOMSG.pack(0, 0, 0, 0, 0, 0) + _SKIP_STATISTICS):
        interface = parse_interface(body)
        if interface is None or not (interface.kind in ("veth", "netkit") or interface.name in wanted):
            continue
        asked += 1
        if asked > MOST_INTERFACES or len(found) >= MOST_NAMED:
            break
        found += [*_at(interface), *xdp(interface.name, body)]
    return tuple(found[:MOST_NAMED])


def _at(interface: Interface) -> Iterator[Steering]:
    if interface.kind == "netkit":
        yield Steering(interface.name, "netkit")
    for hook, parent in _TC_HOOKS.items():
        request = _TCMSG.pack(0, interface.index, 0, parent, 0)
        with suppress(OSError):  # the interface has gone meanwhile
            for body in listing(_RTM_GETTFILTER, request):
                if (program := filter_program(body)) is not None:
                    yield Steering(interface.name, hook, program)
    for hook, kind in _BY_QUERY.items():
        if hook.startswith("netkit") and interface.kind != "netkit":
            continue
        with suppress(OSError):  # a kernel without such hooks, or no capability to ask
            for number in bpf.query_attached(interface.index, kind).programs:
                yield Steering(interface.name, hook, _named(number))


def filter_program(body: bytes) -> str | None:
    """The program's name, else its number, in the body of a RTM_NEWTFILTER; None for other filters."""
    if len(body) < _TCMSG.size:
        return None
    values = attributes(body[_TCMSG.size :])
    if text(values.get(_TCA_KIND)) != "bpf" or _TCA_OPTIONS not in values:
        return None
    options = attributes(values[_TCA_OPTIONS])
    if _TCA_BPF_NAME not in options and _TCA_BPF_ID not in options:
        return None  # the head of a chain, which has no program yet
    number = int.from_bytes(options.get(_TCA_BPF_ID, b""), sys.byteorder)
    return text(options.get(_TCA_BPF_NAME)).partition(":[")[0] or _named(number)  # tc adds where it is from


def xdp(name: str, body: bytes) -> Iterator[Steering]:
    """The XDP program in the body of a RTM_NEWLINK."""
    state = attributes(attributes(body[IFINFOMSG.size :]).get(_IFLA_XDP, b""))
    if any(state.get(_XDP_ATTACHED, b"")):
        yield Steering(name, "xdp", _named(int.from_bytes(state.get(_XDP_PROGRAM, b""), sys.byteorder)))


def _named(number: int) -> str:
    with suppress(OSError):
        if found := bpf.program_name(number):
            return found
    return f"program {number}" if number else "a program"


def described(found: Iterable[Steering]) -> str:
    """One line: whose, which programs, where; the commonest first. Empty: nothing was found."""
    listed = tuple(found)
    plugins = dict.fromkeys(one.plugin for one in listed if one.plugin)
    kinds = Counter((one.program, one.hook) for one in listed)
    first = {kind: one.interface for one in reversed(listed) for kind in [(one.program, one.hook)]}
    shown = []
    for (program, hook), count in kinds.most_common(_SHOWN):
        more = f" and {count - 1} more" if count > 1 else ""
        what = f"{program} at {hook} of" if program else "the netkit device"
        shown.append(f"{what} {first[program, hook]}{more}")
    if len(kinds) > _SHOWN:
        shown.append(f"{len(kinds) - _SHOWN} other programs")
    whose = f"{' and '.join(plugins)}: " if plugins else ""
    return whose + ", ".join(shown) if shown else ""
