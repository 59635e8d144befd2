# SPDX-License-Identifier: Apache-2.0
"""Replicas behind one address, and TLS with kube-scheduler: what is replaced during a burst costs no call.

Real kube-scheduler; as in test_extender_faults.py, footprints are written by the test.
"""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.controlplane import pki
from lab.lab import Lab, LabConfig
from lab.programs import EXTENDER_PORT
from tests.cluster.conftest import logs_of
from tests.cluster.support.replicas import (
    PATIENT,
    SCHEDULER,
    TELLING,
    Replica,
    Scheduler,
    a_lab,
    all_bound,
    burst,
    eventually,
    extender,
    mouse_request,
    publish,
)

pytestmark = pytest.mark.cluster

BUSY = {"node1", "node2"}
TLS_PORT = EXTENDER_PORT + 10
PAGES_PORT = TLS_PORT + 1
NAMES = ("IP:127.0.0.1",)
COUNT = 300
"""Pods of the burst in which a replica leaves: more than are placed while it does."""


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Eight nodes, elephants on two of them."""
    module = request.module.__name__.rpartition(".")[2]
    with a_lab(LabConfig(nodes=8, agents=False, extender=False, keep_dir=logs_of(module))) as lab:
        for node in lab.node_names:
            publish(lab, node, *(["bulk"] if node in BUSY else []))
        yield lab


class ReplicaAddress:
    """Port 8890 of loopback, given to the ports in turn, as a Service gives it to those of ready pods."""

    def lead_to(self, *ports: int) -> None:
        """From now on for new connections; open ones stay where they are."""
        choice = ", ".join(f"{turn} : {port}" for turn, port in enumerate(ports))
        _nft(
            "add table ip one_address\n"
            "add chain ip one_address output { type nat hook output priority -100; }\n"
            "flush chain ip one_address output\n"
            f"add rule ip one_address output ip daddr 127.0.0.1 tcp dport {EXTENDER_PORT} "
            f"redirect to :numgen inc mod {len(ports)} map {{ {choice} }}\n"
        )


def _nft(commands: str) -> None:
    done = subprocess.run(["nft", "-f", "-"], input=commands, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def one_address(*ports: int) -> Iterator[ReplicaAddress]:
    address = ReplicaAddress()
    address.lead_to(*ports)
    try:
        yield address
    finally:
        _nft("delete table ip one_address")


def answered(replica: Replica, verb: str = "filter") -> int:
    return int(replica.count("requests_total", verb=verb, result="ok"))


def test_a_replica_that_is_terminated_during_a_burst_costs_no_call(cluster: Lab) -> None:
    cluster.start_scheduler(extender=True, changes=SCHEDULER, flags=TELLING)
    first, second = EXTENDER_PORT + 1, EXTENDER_PORT + 2
    flags = (*PATIENT, "--drain", "10")  # time enough for this test to lead callers elsewhere, on a slow machine
    with (
        extender(cluster, "replica-1", first, flags=flags) as one,
        extender(cluster, "replica-2", second, flags=flags) as two,
        one_address(first, second) as address,
    ):
        scheduler = Scheduler.now(cluster)
        with burst(cluster, "drained", COUNT):
            eventually("the burst is answered", lambda: answered(one) + answered(two) >= 20)
            leaving, staying = (one, two) if answered(one) else (two, one)
            leaving.process.send(signal.SIGTERM)
            eventually("it calls itself not ready", lambda: not leaving.ready)
            address.lead_to(staying.port)  # as the Service's endpoints do
            assert leaving.process.wait(60) == 0
            assert not set(all_bound(cluster, "drained", COUNT).values()) & BUSY
            assert scheduler.since() == {"scheduled": COUNT, "unschedulable": 0, "error": 0}
            assert scheduler.failed_calls() == []
            gone, there = leaving.answered(), answered(staying)
            assert there >= 1, "the other one took over"
            assert gone["filter ok"] + there == COUNT, "each pod was asked about once, and answered"
            assert gone["prioritize ok"] + answered(staying, "prioritize") == COUNT
            assert set(gone) == {"filter ok", "prioritize ok"}, "nothing late, shed or failed"


# TLS.


class Secret:
    """Certificates in a directory that is swapped as a whole, as mounted Secrets are."""

    def __init__(self, root: Path) -> None:
        self._root, self._version = root, 0
        self.live = root / "live"

    def install(self, server: pki.Pki, name: str, clients: Sequence[pki.Pki], client: pki.Pki) -> None:
        """The server's certificate, the CAs of its clients, and kube-scheduler's own certificate."""
        self._version += 1
        folder = self._root / f"v{self._version}"
        folder.mkdir()
        for kind, source, who in (("tls", server, name), ("client", client, pki.SCHEDULER)):
            shutil.copy(source.certificate(who), folder / f"{kind}.crt")
            shutil.copy(source.key(who), folder / f"{kind}.key")
        (folder / "client-ca.crt").write_text("".join(keys.ca.read_text() for keys in clients))
        link = self._root / "next"
        link.symlink_to(folder)
        link.replace(self.live)

    @property
    def flags(self) -> tuple[str, ...]:
        """Of the extender."""
        files = (("--tls-cert", "tls.crt"), ("--tls-key", "tls.key"), ("--client-ca", "client-ca.crt"))
        return tuple(word for flag, name in files for word in (flag, str(self.live / name)))

    def client(self, ca: Path) -> ssl.SSLContext:
        """A client that trusts ``ca`` and shows the certificate of this moment."""
        folder = self.live.readlink()
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(folder / "client.crt", folder / "client.key")
        return context


class Caller:
    """Asks again and again, each time over a new connection, in a thread of its own."""

    def __init__(self, secret: Secret, ca: Path, names: Sequence[str]) -> None:
        self._secret, self._ca, self._body = secret, ca, json.dumps(mouse_request(names))
        self.answers = 0
        self.failures: list[str] = []
        self.serials: set[str] = set()
        """Of the certificates that it was shown."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            try:
                self._call()
            except OSError as error:
                self.failures.append(repr(error))

    def _call(self) -> None:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", TLS_PORT, context=self._secret.client(self._ca), timeout=30
        )
        try:
            connection.connect()
            assert isinstance(connection.sock, ssl.SSLSocket)
            shown = connection.sock.getpeercert()
            connection.request("POST", "/filter", self._body)
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert set(answer["FailedAndUnresolvableNodes"]) == BUSY
        self.serials.add(str(shown["serialNumber"]) if shown else "")
        self.answers += 1

    def __enter__(self) -> Caller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


def refused(context: ssl.SSLContext) -> bool:
    """Whether a caller with ``context`` gets no answer."""
    connection = http.client.HTTPSConnection("127.0.0.1", TLS_PORT, context=context, timeout=30)
    try:
        connection.request("GET", "/healthz")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return True
    finally:
        connection.close()
    return False


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> pki.Pki:
    keys = pki.create(tmp_path_factory.mktemp("pki") / "ours", NAMES)
    for name in ("extender", "extender-renewed"):
        pki.issue_server(keys, name, NAMES)
    return keys


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> pki.Pki:
    """Another CA, and clients of it."""
    return pki.create(tmp_path_factory.mktemp("pki") / "others", NAMES)


def test_kube_scheduler_asks_over_mutual_tls_and_new_certificates_cost_no_call(
    cluster: Lab, ours: pki.Pki, others: pki.Pki, tmp_path: Path
) -> None:
    secret = Secret(tmp_path)
    secret.install(ours, "extender", [ours], ours)
    tls = {
        "caFile": str(ours.ca), "certFile": str(secret.live / "client.crt"),
        "keyFile": str(secret.live / "client.key"),
    }  # fmt: skip
    flags = (*PATIENT, *secret.flags)
    with extender(cluster, "secured", TLS_PORT, PAGES_PORT, flags) as replica:
        changes = {
            **SCHEDULER,
            "urlPrefix": f"https://127.0.0.1:{TLS_PORT}",
            "enableHTTPS": True,
            "tlsConfig": tls,
        }
        cluster.start_scheduler(extender=True, changes=changes, flags=TELLING)
        scheduler = Scheduler.now(cluster)
        with burst(cluster, "encrypted", 5):
            assert not set(all_bound(cluster, "encrypted", 5).values()) & BUSY
        assert answered(replica) == 5
        assert answered(replica, "prioritize") == 5

        assert replica.count("connections_refused_total") == 0
        assert refused(ssl.create_default_context(cafile=str(ours.ca)))
        assert replica.count("connections_refused_total", reason="no-client-certificate") == 1
        stranger = ssl.create_default_context(cafile=str(ours.ca))
        stranger.load_cert_chain(others.certificate(pki.SCHEDULER), others.key(pki.SCHEDULER))
        assert refused(stranger)
        assert replica.count("connections_refused_total", reason="client-certificate") == 1

        with Caller(secret, ours.ca, cluster.node_names) as caller, burst(cluster, "renewed", 300):
            eventually("both ask", lambda: caller.answers >= 5 and answered(replica) >= 50)
            secret.install(ours, "extender-renewed", [ours, others], ours)
            eventually("new certificates are used", lambda: len(caller.serials) == 2)
            before = caller.answers
            eventually("and go on being used", lambda: caller.answers >= before + 20)
            all_bound(cluster, "renewed", 300)
        assert caller.failures == []
        assert scheduler.failed_calls() == []
        assert replica.count("certificate_changes_total", result="used") == 1
        assert replica.count("certificate_changes_total", result="unusable") == 0
        assert replica.count("connections_refused_total") == 2, "no others than those above"

    # The old CA of the clients is retired. kube-scheduler connects anew, and shows its new certificate.
    secret.install(ours, "extender-renewed", [others], others)
    with extender(cluster, "secured-again", TLS_PORT, PAGES_PORT, flags) as replica:
        with burst(cluster, "reloaded", 5):
            assert not set(all_bound(cluster, "reloaded", 5).values()) & BUSY
        assert answered(replica) == 5
        assert scheduler.failed_calls() == []
        assert replica.count("connections_refused_total") == 0
