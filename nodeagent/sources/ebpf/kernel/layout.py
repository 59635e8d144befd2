# SPDX-License-Identifier: Apache-2.0
"""Mirrors of the structs in bpf/state.h, and its constants: the one place where Python knows the kernel's bytes.

tests/bpf compares every size and offset with the C compiler's.
"""

from __future__ import annotations

import ctypes
from typing import Final

from nodeagent.sources.base import HISTOGRAM_BUCKETS

SLOT_BITS: Final = 12
SLOT_MASK: Final = (1 << SLOT_BITS) - 1
UNATTRIBUTED_TAG: Final = 0
HOST_TAG: Final = 1
CARRIER_TAG: Final = 2
ORIGINAL, REPLY = 0, 1

FLOW_SETTLED: Final = 1 << 0
FLOW_LOCAL: Final = 1 << 1
FLOW_FLIPPED: Final = 1 << 2
FLOW_COUNTED: Final = 1 << 3
FLOW_OLD: Final = 1 << 4
FLOW_UNSIZED: Final = 1 << 5
FLOW_SHADOW: Final = 1 << 6
FLOW_HEIR: Final = 1 << 7
PACE_FAST: Final = 1 << 0
PACE_SLOW: Final = 1 << 1

EVENT_BECAME: Final = 1
EVENT_CEASED: Final = 2

STATS: Final = (
    "STAT_FLOWS_MET", "STAT_FLOWS_BURIED", "STAT_UNCONFIRMED", "STAT_BIRTHS", "STAT_BIRTHS_UNHEARD",
    "STAT_LOST_FLOW_REFUSED", "STAT_LOST_FLOW_EVICTED", "STAT_LOST_EVENT", "STAT_LOST_ELEPHANT", "STAT_LOST_READ",
    "STAT_LOST_OWNER", "STAT_LOST_END", "STAT_LOST_ZONE",
)  # fmt: skip

_u8, _u16, _u32, _u64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64


class Address(ctypes.Structure):
    _fields_ = (("word", _u32 * 4),)


class FlowEntry(ctypes.Structure):
    _fields_ = (
        ("bytes", _u64 * 2), ("base", _u64 * 2), ("born_ns", _u64), ("packets", _u32 * 2), ("window", _u32),
        ("slow_since", _u32), ("stamp", _u32 * 2), ("charge", _u32 * 2), ("generation", _u32), ("flags", _u8),
        ("pace", _u8), ("elephant", _u8), ("protocol", _u8),
    )  # fmt: skip


class SlotCounters(ctypes.Structure):
    _fields_ = (
        ("tag", _u32), ("reserved", _u32), ("tx_bytes", _u64), ("rx_bytes", _u64), ("tx_packets", _u64),
        ("rx_packets", _u64), ("tx_elephant_bytes", _u64), ("rx_elephant_bytes", _u64), ("local_bytes", _u64),
        ("flows_born", _u64), ("flows_ended", _u64), ("mice_ended", _u64),
    )  # fmt: skip


class Histograms(ctypes.Structure):
    _fields_ = (("sizes", _u64 * HISTOGRAM_BUCKETS), ("lifetimes", _u64 * HISTOGRAM_BUCKETS))


class Config(ctypes.Structure):
    _fields_ = (
        ("elephant_bytes", _u64), ("window_bytes", _u64), ("exit_bytes", _u64), ("mouse_bytes", _u64),
        ("window", _u32), ("exit_hold", _u32), ("netns", _u32), ("generation", _u32), ("seeded", _u32),
        ("fingerprint", _u32), ("salt", _u64),
    )  # fmt: skip


class SeedKey(ctypes.Structure):
    _fields_ = (
        ("source", Address), ("destination", Address), ("source_port", _u16), ("destination_port", _u16),
        ("protocol", _u8), ("reserved", _u8), ("zone", _u16),
    )  # fmt: skip


class First(ctypes.Structure):
    _fields_ = (("flow", _u64), ("born_ns", _u64), ("zone", _u32), ("lent", _u32))


class Seed(ctypes.Structure):
    _fields_ = (("bytes", _u64 * 2), ("born_ns", _u64), ("unsized", _u32), ("reserved", _u32))


class ElephantEvent(ctypes.Structure):
    _fields_ = (
        ("flow", _u64), ("time_ns", _u64), ("bytes", _u64 * 2), ("initiator", Address), ("responder", Address),
        ("initiator_port", _u16), ("responder_port", _u16), ("protocol", _u8), ("kind", _u8),
        ("reserved", _u8 * 2),
    )  # fmt: skip


class CarrierKey(ctypes.Structure):
    _fields_ = (("remote", Address), ("port", _u16), ("protocol", _u8), ("here", _u8))


class Owner(ctypes.Structure):
    _fields_ = (("tag", _u32), ("present", _u32), ("uid", ctypes.c_char * 120))


MIRRORS: Final[dict[str, type[ctypes.Structure]]] = {
    "address": Address, "flow": FlowEntry, "counters": SlotCounters, "histograms": Histograms, "config": Config,
    "seed_key": SeedKey, "seed": Seed, "event": ElephantEvent, "owner": Owner, "carrier": CarrierKey,
    "first": First,
}  # fmt: skip
"""Every struct of bpf/state.h by its C name."""
