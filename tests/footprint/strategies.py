# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for contract values."""

from __future__ import annotations

from hypothesis import strategies as st

from footprint.classes import TrafficClass
from footprint.models import LinkRates, NodeFootprint, PodFootprint, Uplink
from footprint.units import MAX_RATE

rates = st.floats(0, MAX_RATE, allow_nan=False)
names = st.text("abz-AZ019_.:/~", max_size=60)
link_rates = st.builds(LinkRates, rates, rates)

pods = st.builds(
    PodFootprint,
    uid=names, ns=names, name=names, wl=names,
    cls=st.sampled_from(TrafficClass),
    tx=rates, rx=rates, etx=rates, erx=rates,
    el=st.integers(0, 10_000), nf=st.floats(0, 1e9), ms=st.floats(0, 1),
)  # fmt: skip

directions = st.lists(st.sampled_from(["tx", "rx"]), max_size=2).map(tuple)

uplinks = st.builds(
    Uplink,
    name=names, cap=link_rates, by=names, sure=st.floats(0, 1), used=link_rates, el=link_rates, full=directions,
)  # fmt: skip

nodes = st.builds(
    NodeFootprint,
    src=names, cap=link_rates,
    pods=st.lists(pods, max_size=8).map(tuple), ended=st.lists(pods, max_size=8).map(tuple),
    el=link_rates, un=link_rates, host=link_rates, local=rates,
    bad=st.lists(names, max_size=3).map(tuple),
    up=names, by=names, sure=st.floats(0, 1), used=link_rates, full=directions,
    uplinks=st.lists(uplinks, max_size=3).map(tuple),
)  # fmt: skip
