# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from lab.network import services
from lab.network.services import ClusterService, EndpointSlice, render, service_of, slice_of


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    return {"metadata": {"namespace": "shop", "name": "web"}, "spec": {"ports": ports, **spec}}


def endpoints(*addresses: str, kind: str = "IPv4", **extra: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": f"web-{kind}", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": kind,
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        **extra,
    }


def dual_stack() -> tuple[list[ClusterService], list[EndpointSlice]]:
    made = service_of(service(clusterIPs=["10.96.0.5", "fd00:96::5"]))
    slices = [slice_of(endpoints("10.244.1.10", "10.244.2.10")), slice_of(endpoints("fd00:244:1::a", kind="IPv6"))]
    assert made is not None
    return [made], [piece for piece in slices if piece is not None]


def test_a_service_address_leads_to_its_endpoints_in_its_own_family() -> None:
    script = render(*dual_stack())
    assert "10.96.0.5 . tcp . 80 : goto svc-0" in script
    assert "numgen random mod 2 map { 0 : 10.244.1.10 . 8080, 1 : 10.244.2.10 . 8080 }" in script
    assert "fd00:96::5 . tcp . 80 : goto svc-1" in script
    assert "numgen random mod 1 map { 0 : fd00:244:1::a . 8080 }" in script


def test_the_order_of_the_input_does_not_change_the_script() -> None:
    made, slices = dual_stack()
    other = ClusterService(("shop", "api"), ("10.96.0.6",), (("http", "tcp", 80),))
    assert render([*made, other], slices) == render([other, *made], list(reversed(slices)))


def test_headless_and_external_name_services_have_no_rules() -> None:
    assert service_of(service(clusterIP="None", clusterIPs=["None"])) is None
    assert service_of(service(type="ExternalName", externalName="example.org")) is None
    assert service_of(service()) is None


def test_an_endpoint_that_is_not_ready_gets_no_connections() -> None:
    raw = endpoints("10.244.1.10", "10.244.2.10")
    raw["endpoints"][0]["conditions"]["ready"] = False
    piece = slice_of(raw)
    assert piece is not None
    assert piece.addresses == ("10.244.2.10",)


def test_an_endpoint_whose_readiness_is_not_known_counts_as_ready() -> None:
    raw = endpoints("10.244.1.10")
    raw["endpoints"][0]["conditions"] = {}
    piece = slice_of(raw)
    assert piece is not None
    assert piece.addresses == ("10.244.1.10",)


def test_endpoints_of_several_slices_are_added_and_counted_once() -> None:
    first, second = slice_of(endpoints("10.244.1.10")), slice_of(endpoints("10.244.1.10", "10.244.2.10"))
    made = service_of(service(clusterIPs=["10.96.0.5"]))
    assert first is not None
    assert second is not None
    assert made is not None
    assert "mod 2 map" in render([made], [first, second])


def test_a_service_without_endpoints_is_not_translated() -> None:
    made = service_of(service(clusterIPs=["10.96.0.5"]))
    assert made is not None
    assert "10.96.0.5" not in render([made], [])


def test_slices_of_host_names_or_of_no_service_are_passed_over() -> None:
    assert slice_of(endpoints("example.org", kind="FQDN")) is None
    assert slice_of(endpoints("10.244.1.10", metadata={"namespace": "shop", "name": "loose"})) is None


def test_an_unknown_protocol_is_left_out_rather_than_breaking_the_table() -> None:
    odd = ClusterService(("shop", "web"), ("10.96.0.5",), (("http", "quic", 80),))
    piece = EndpointSlice(("shop", "web-1"), ("shop", "web"), ("10.244.1.10",), (("http", "quic", 8080),))
    assert "quic" not in render([odd], [piece])


def test_an_empty_cluster_still_gives_a_whole_table() -> None:
    script = render([], [])
    assert script.startswith(f"table {services.TABLE}\ndelete table {services.TABLE}\n")
    assert "elements" not in script
