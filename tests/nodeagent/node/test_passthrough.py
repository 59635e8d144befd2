# SPDX-License-Identifier: Apache-2.0
"""Annotations as Multus and KubeVirt write them, and as nobody would."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.node.passthrough import MOST, passthrough_interfaces

STATUS = "k8s.v1.cni.cncf.io/network-status"
OLD_STATUS = "k8s.v1.cni.cncf.io/networks-status"
INFO = "kubevirt.io/network-info"
PCI = {"type": "pci", "version": "1.0.0", "pci": {"pci-address": "0000:65:00.2"}}
OWN = {"name": "k8s-pod-network", "ips": ["10.244.1.9"], "default": True, "dns": {}}


@pytest.mark.parametrize(
    ("annotations", "names"),
    [
        ({}, ()),
        ({STATUS: json.dumps([OWN])}, ()),
        ({STATUS: json.dumps([OWN, {"name": "d/macvlan", "interface": "net1", "mac": "02:00:00:00:00:01"}])}, ()),
        ({STATUS: json.dumps([OWN, {"name": "d/s", "interface": "net1", "device-info": PCI}])}, ("net1",)),
        ({STATUS: json.dumps([{"name": "d/sriov", "device-info": {"type": "vdpa"}}])}, ("d/sriov",)),
        ({OLD_STATUS: json.dumps([{"interface": "old", "device-info": PCI}])}, ("old",)),
        ({INFO: json.dumps({"interfaces": [{"network": "a", "deviceInfo": PCI}, {"network": "b"}]})}, ("a",)),
        ({STATUS: "[{"}, ()),
        ({STATUS: "7", INFO: "[]"}, ()),
        ({STATUS: '[{"device-info": {"type": ["pci"]}}]'}, ()),
        ({STATUS: '[{"interface": "\\u001b[2J", "device-info": {"type": "pci"}}]'}, ("unnamed",)),
        ({STATUS: '[{"interface": 7, "device-info": {"type": "pci"}}]'}, ("unnamed",)),
        ({STATUS: 7, INFO: None}, ()),
    ],
)  # fmt: skip
def test_interfaces_that_bypass_the_node_are_named(annotations: dict[str, Any], names: tuple[str, ...]) -> None:
    assert passthrough_interfaces(annotations) == names


def test_of_many_only_some_are_kept() -> None:
    many = [{"interface": f"net{number}", "device-info": PCI} for number in range(1000)]
    assert len(passthrough_interfaces({STATUS: json.dumps(many)})) == MOST


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(["pci", "vdpa"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["interfaces", "interface", "name", "network", "device-info", "deviceInfo", "type"]),
            inner,
        ),
    ),
    max_leaves=12,
)


@given(st.one_of(_JSON.map(json.dumps), st.text(max_size=30)))
def test_whatever_they_hold_is_printable_names(text: str) -> None:
    for key in (STATUS, INFO):
        assert all(name.isprintable() and name for name in passthrough_interfaces({key: text}))
