"""Certificates that the chart makes, in a real handshake. That upgrades keep them is shown in tests/cluster."""

from __future__ import annotations

import ssl
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from extender.certificates import TlsFiles, tls_context
from footprint.keys import PREFIX
from lab import manifests
from tests.helm.rendering import Object, one, pem, rendered

pytestmark = pytest.mark.timeout(1800)  # the first test may build Helm

HOST = "tf-traffic-footprint-extender.space.svc"


def unpack(secret: Object, directory: Path) -> Path:
    """A Secret as a kubelet mounts it."""
    directory.mkdir(parents=True)
    for key in ("tls.crt", "tls.key", "ca.crt"):
        (directory / key).write_text(pem(secret, key))
    return directory


def server_context(mounted: Path) -> ssl.SSLContext:
    """As the extender makes it."""
    return tls_context(TlsFiles(mounted / "tls.crt", mounted / "tls.key", mounted / "ca.crt"))


def client_context(mounted: Path) -> ssl.SSLContext:
    """As kube-scheduler is told to."""
    context = ssl.create_default_context(cafile=str(mounted / "ca.crt"))
    context.load_cert_chain(mounted / "tls.crt", mounted / "tls.key")
    return context


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A whole handshake through memory; the certificates that client and server saw. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    ends[1].write(b"x")
    assert ends[0].read(1) == b"x"
    seen = [end.getpeercert() for end in ends]
    return dict(seen[0] or {}), dict(seen[1] or {})


def contexts(objects: list[Object], directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(extender's, kube-scheduler's) of one rendering."""
    server = unpack(one(objects, "Secret", "-extender-tls"), directory / "server")
    return server_context(server), client_context(
        unpack(one(objects, "Secret", "-scheduler-tls"), directory / "client")
    )


def test_both_sides_of_one_rendering_trust_each_other_under_the_services_name(tmp_path: Path) -> None:
    server, client = contexts(rendered(), tmp_path)
    shake_hands(server, client, HOST)
    shake_hands(server, client, f"{HOST}.cluster.local")


def test_another_name_is_not_believed_unless_it_was_asked_for(tmp_path: Path) -> None:
    server, client = contexts(rendered(), tmp_path / "plain")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(server, client, "extender.example.internal")
    values: dict[str, Any] = {
        "certificates": {"extraNames": ["extender.example.internal"], "extraAddresses": ["192.0.2.1"]},
        "extender": {"service": {"clusterIP": "10.96.88.90"}},
    }
    server, client = contexts(rendered(values), tmp_path / "more")
    for name in ("extender.example.internal", "192.0.2.1", "10.96.88.90"):
        shake_hands(server, client, name)


def test_a_client_of_another_installation_is_turned_away(tmp_path: Path) -> None:
    server, _ = contexts(rendered(), tmp_path / "ours")
    _, stranger = contexts(rendered({"commonLabels": {"a": "b"}}), tmp_path / "theirs")
    stranger.load_verify_locations(tmp_path / "ours" / "client" / "ca.crt")
    with pytest.raises(ssl.SSLError):
        shake_hands(server, stranger, HOST)


def test_the_lifetimes_are_those_of_the_values_and_stand_beside_them(tmp_path: Path) -> None:
    objects = rendered({"certificates": {"selfSigned": {"caDays": 400, "days": 30, "renewBeforeDays": 10}}})
    server, client = contexts(objects, tmp_path)
    shown_to_client, shown_to_server = shake_hands(server, client, HOST)
    [authority] = client.get_ca_certs()
    for name, certificate, days in (
        ("-ca", authority, 400), ("-extender-tls", shown_to_client, 30), ("-scheduler-tls", shown_to_server, 30),
    ):  # fmt: skip
        until = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        assert round((until - time.time()) / 86400) == days, name
        said = one(objects, "Secret", name)["metadata"]["annotations"][f"{PREFIX}valid-until"]
        assert abs(datetime.fromisoformat(said).timestamp() - until) < 60, name


def test_no_certificate_outlives_the_ca(tmp_path: Path) -> None:
    objects = rendered({"certificates": {"selfSigned": {"caDays": 300, "days": 300, "renewBeforeDays": 10}}})
    shown, _ = shake_hands(*contexts(objects, tmp_path), HOST)
    [authority] = contexts(objects, tmp_path / "again")[1].get_ca_certs()
    ends = [ssl.cert_time_to_seconds(str(c["notAfter"])) for c in (shown, authority)]
    assert ends[0] <= ends[1]


def test_the_script_for_kustomize_makes_what_both_sides_need(tmp_path: Path) -> None:
    script = manifests.CHECKOUT / "manifests" / "certificates.sh"
    made = tmp_path / "made"
    subprocess.run([script, made, "space"], check=True, timeout=60)
    server = server_context(made / "extender")
    client = client_context(made / "scheduler")
    shake_hands(server, client, "traffic-footprint-extender.space.svc")
    nobody = ssl.create_default_context(cafile=str(made / "scheduler" / "ca.crt"))
    with pytest.raises(ssl.SSLError):
        shake_hands(server, nobody, "traffic-footprint-extender.space.svc")
    again = subprocess.run([script, made], capture_output=True, text=True, check=False, timeout=60)
    assert again.returncode != 0, "it never overwrites a CA"
