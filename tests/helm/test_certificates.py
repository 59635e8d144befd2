# SPDX-License-Identifier: Apache-2.0
"""Certificates that the chart makes, in a real handshake; and how a CA is replaced, upgrade by upgrade.

That Helm finds them again on a real API server is shown in tests/cluster.
"""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from extender.serving.certificates import tls_context
from extender.settings import TlsFiles
from footprint.keys import PREFIX
from lab import manifests
from tests.helm.rendering import CHART, KUBE_VERSION, Object, helm, one, pem, rendered

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


LOOKUP = re.compile(r'lookup "v1" "Secret" (\$?)\.Release\.Namespace')
SECRETS = ("-ca", "-extender-tls", "-scheduler-tls")


class Cluster:
    """Remembers the release's Secrets; the templates are the chart's, with ``lookup`` led to a file."""

    def __init__(self, directory: Path) -> None:
        self._chart = directory / "chart"
        shutil.copytree(CHART, self._chart)
        templates = self._chart / "templates" / "_certificates.tpl"
        text, found = LOOKUP.subn(r'get (fromJson (\1.Files.Get "secrets.json"))', templates.read_text())
        assert found == 2
        templates.write_text(text)
        self.secrets: dict[str, Object] = {}
        self.objects: list[Object] = []

    def upgrade(self, values: Mapping[str, Any] | None = None) -> dict[str, Object]:
        """The Secrets by the ends of their names."""
        (self._chart / "secrets.json").write_text(json.dumps(self.secrets))
        done = helm(
            "template", "tf", str(self._chart), "--namespace", "space", "--kube-version", KUBE_VERSION,
            values=values or {},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.objects = [each for each in yaml.safe_load_all(done.stdout) if each]
        found = {end: one(self.objects, "Secret", end) for end in SECRETS}
        self.secrets = {each["metadata"]["name"]: each for each in found.values()}
        return found

    def notes(self) -> str:
        """What Helm would print with these Secrets in the cluster."""
        (self._chart / "secrets.json").write_text(json.dumps(self.secrets))
        done = helm("install", "tf", str(self._chart), "--namespace", "space", "--dry-run=client")
        assert done.returncode == 0, done.stderr
        return done.stdout.rpartition("NOTES:")[2]

    def say(self, end: str, annotation: str, **from_now: float) -> None:
        """Put a moment beside a Secret."""
        [secret] = [each for name, each in self.secrets.items() if name.endswith(end)]
        moment = datetime.now(UTC) + timedelta(**from_now)
        secret["metadata"]["annotations"][f"{PREFIX}{annotation}"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def trust(self) -> str:
        """By what kube-scheduler's pods are replaced."""
        template = one(self.objects, "Deployment", "-scheduler")["spec"]["template"]
        found: str = template["metadata"]["annotations"][f"{PREFIX}trust"]
        return found


def data(secrets: Mapping[str, Object]) -> dict[str, Any]:
    return {end: secret["data"] for end, secret in secrets.items()}


def mounted(secrets: Mapping[str, Object], directory: Path) -> tuple[Path, Path]:
    """What the kubelets of extender and kube-scheduler have mounted of one upgrade."""
    return (
        unpack(secrets["-extender-tls"], directory / "extender"),
        unpack(secrets["-scheduler-tls"], directory / "scheduler"),
    )


def test_an_upgrade_keeps_everything_while_nothing_is_due(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    first = data(cluster.upgrade())
    cluster.say("-ca", "valid-until", days=361)
    assert data(cluster.upgrade()) == first
    cluster.say("-extender-tls", "valid-until", days=179)
    renewed = data(cluster.upgrade())
    assert renewed["-extender-tls"]["tls.crt"] != first["-extender-tls"]["tls.crt"]
    assert (renewed["-ca"], renewed["-scheduler-tls"]) == (first["-ca"], first["-scheduler-tls"])


def test_while_a_ca_is_replaced_whoever_has_old_files_and_whoever_has_new_ones_trust_each_other(
    tmp_path: Path,
) -> None:
    """Files reach the pods in either order: after two upgrades, one after the other, all four pairs must work."""
    cluster = Cluster(tmp_path)
    steps = [cluster.upgrade()]
    cluster.say("-ca", "valid-until", days=359)
    steps.append(cluster.upgrade())
    cluster.say("-ca", "next-since", hours=-2)
    steps.append(cluster.upgrade())
    files = [mounted(step, tmp_path / str(number)) for number, step in enumerate(steps)]
    for before, after in ((0, 1), (1, 2)):
        for server in (before, after):
            for client in (before, after):
                shake_hands(server_context(files[server][0]), client_context(files[client][1]), HOST)
    authorities = [pem(step["-ca"], "tls.crt") for step in steps]
    assert authorities[0] == authorities[1] != authorities[2]
    # In one step it would not do: who has not got the new files yet turns away who has.
    for server, client in ((0, 2), (2, 0)):
        with pytest.raises(ssl.SSLError):
            shake_hands(server_context(files[server][0]), client_context(files[client][1]), HOST)


def test_the_first_upgrade_of_a_replacement_changes_trust_and_the_second_who_issues(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    old, trust = data(cluster.upgrade()), cluster.trust()
    cluster.say("-ca", "valid-until", days=359)
    first = data(cluster.upgrade())
    for end in ("-extender-tls", "-scheduler-tls"):
        assert first[end]["tls.crt"] == old[end]["tls.crt"]
    assert cluster.trust() != trust, "kube-scheduler reads its CA when it starts"
    trust = cluster.trust()
    assert data(cluster.upgrade()) == first, "an upgrade within the hour waits"
    assert "an upgrade from an hour after" in " ".join(cluster.notes().split())
    cluster.say("-ca", "next-since", minutes=-61)
    second = data(cluster.upgrade())
    assert second["-ca"]["tls.crt"] == first["-ca"]["next.crt"]
    assert second["-ca"]["tls.key"] == first["-ca"]["next.key"]
    assert second["-ca"]["previous.crt"] == old["-ca"]["tls.crt"]
    assert not {"next.crt", "next.key"} & set(second["-ca"])
    for end in ("-extender-tls", "-scheduler-tls"):
        assert second[end]["tls.crt"] != first[end]["tls.crt"]
    assert cluster.trust() == trust, "nothing new to trust, nobody to restart"
    assert data(cluster.upgrade()) == second
    assert "an upgrade from" not in cluster.notes()
    until = cluster.secrets["tf-traffic-footprint-ca"]["metadata"]["annotations"][f"{PREFIX}valid-until"]
    assert (datetime.fromisoformat(until) - datetime.now(UTC)).days >= 3648


def test_a_ca_that_has_ended_is_replaced_at_once(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    old = data(cluster.upgrade())
    cluster.say("-ca", "valid-until", days=-1)
    secrets = cluster.upgrade()
    assert secrets["-ca"]["data"]["tls.crt"] != old["-ca"]["tls.crt"]
    assert "next.crt" not in secrets["-ca"]["data"]
    server, client = mounted(secrets, tmp_path / "mounted")
    shake_hands(server_context(server), client_context(client), HOST)


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
