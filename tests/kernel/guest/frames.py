# SPDX-License-Identifier: Apache-2.0
"""A network namespace that plays a guest: its device and a tap elsewhere are the two ends of one cable.

Frames are carried between two descriptors of /dev/net/tun, as a virtual machine's monitor does. What the namespace
sends enters the other one by a tap, and by nothing else.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lab.network import commands, netns
from tests.kernel.guest.launcher import TAP, Guest

_TUNSETIFF: Final = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_LARGEST: Final = 2**16


def opened(namespace: str, device: str) -> int:
    """A descriptor of the tap ``device`` in ``namespace``, which is made if it is not there."""
    with netns.entered(namespace):
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        request = struct.pack("16sH22x", device.encode(), _IFF_TAP | _IFF_NO_PI)
        fcntl.ioctl(descriptor, _TUNSETIFF, request)
    return descriptor


@contextmanager
def plugged(guest: str, pod: str, told: Guest) -> Iterator[None]:
    """The namespace ``guest`` with an eth0 whose other end is the tap in ``pod``."""
    ends = opened(guest, "eth0"), opened(pod, TAP)
    stop, stopper = os.pipe()
    carrier = threading.Thread(target=_carry, args=(ends, stop))
    try:
        commands.ip_batch(guest, f"link set eth0 address {told.mac}\n" + told.script("eth0"))
        carrier.start()
        yield
    finally:
        os.write(stopper, b"x")
        if carrier.ident is not None:
            carrier.join()
        for descriptor in (*ends, stop, stopper):
            os.close(descriptor)


def _carry(ends: tuple[int, int], stop: int) -> None:
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    while True:
        ready, _, _ = select.select([*ends, stop], [], [])
        if stop in ready:
            return
        for descriptor in ready:
            _pass(descriptor, other[descriptor])


def _pass(taken: int, given: int) -> None:
    try:
        while frame := os.read(taken, _LARGEST):
            os.write(given, frame)
    except BlockingIOError:
        return
