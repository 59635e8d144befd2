# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from extender.api.metrics import Metrics, ServerFigures
from extender.cluster.state import ClusterState
from extender.serving.certificate_expiry import ends
from extender.serving.certificates import CertificateError, Certificates, not_after, tls_context
from extender.settings import TlsFiles
from lab.controlplane import pki


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> pki.Pki:
    return pki.create(tmp_path_factory.mktemp("pki") / "keys", ["IP:127.0.0.1"])


def refusal(files: TlsFiles) -> str:
    with pytest.raises(CertificateError) as caught:
        tls_context(files)
    return str(caught.value)


def test_what_is_no_certificate_names_the_command_to_look_at_it(tmp_path: Path, keys: pki.Pki) -> None:
    nonsense = tmp_path / "cert.pem"
    nonsense.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
    good = keys.key("apiserver")
    assert f"openssl x509 -in {nonsense}" in refusal(TlsFiles(nonsense, good))
    assert f"--client-ca {nonsense}" in refusal(TlsFiles(keys.certificate("apiserver"), good, nonsense))


def test_a_key_of_another_certificate_is_told_apart(keys: pki.Pki) -> None:
    assert "does not belong to" in refusal(TlsFiles(keys.certificate("apiserver"), keys.key(pki.SCHEDULER)))


def test_a_missing_file_is_named(tmp_path: Path, keys: pki.Pki) -> None:
    missing = tmp_path / "none.pem"
    for files in (
        TlsFiles(missing, keys.key("apiserver")),
        TlsFiles(keys.certificate("apiserver"), missing),
        TlsFiles(keys.certificate("apiserver"), keys.key("apiserver"), missing),
    ):
        assert str(missing) in refusal(files)


def test_an_encrypted_key_is_an_error_not_a_prompt(tmp_path: Path, keys: pki.Pki) -> None:
    encrypted = tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", keys.key("apiserver"), "-aes256", "-passout", "pass:x", "-out", encrypted],
        check=True,
    )
    assert "openssl pkey" in refusal(TlsFiles(keys.certificate("apiserver"), encrypted))


def test_bad_new_files_leave_the_last_good_ones_in_place(tmp_path: Path, keys: pki.Pki) -> None:
    cert, key = tmp_path / "cert", tmp_path / "key"
    cert.write_bytes(keys.certificate("apiserver").read_bytes())
    key.write_bytes(keys.key("apiserver").read_bytes())
    certificates = Certificates(TlsFiles(cert, key))
    good = certificates.context
    for damage in (lambda: cert.write_text("nonsense"), cert.unlink):
        damage()
        assert not certificates.refresh()
        assert certificates.context is good
    assert certificates.changes["unusable"] == 2
    assert not certificates.refresh()
    assert certificates.changes["unusable"] == 2, "the same bad files are not counted again"
    cert.write_bytes(keys.certificate("apiserver").read_bytes())
    os.utime(cert)
    assert certificates.refresh()
    assert certificates.context is not good


DAY = 86400.0


def ending(path: Path, days: int, key: Path | None = None) -> Path:
    """A self-signed certificate that is valid for so many days, of a new key or of ``key``."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(path) + ".key"]
    signed = ["-key", str(key)] if key else new
    rest = ["-subj", "/CN=x", "-days", str(days), "-out", str(path)]
    subprocess.run(["openssl", "req", "-x509", *signed, *rest], check=True, capture_output=True)
    return path


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_a_bundle_of_cas_ends_with_its_last_and_a_chain_with_its_first(tmp_path: Path, keys: pki.Pki) -> None:
    short, long = ending(tmp_path / "short", 5), ending(tmp_path / "long", 50)
    both = tmp_path / "both"
    both.write_text(short.read_text() + long.read_text())
    [first], [last] = ends(short.read_text()), ends(long.read_text())
    own = keys.certificate("apiserver")
    assert not_after(TlsFiles(own, keys.key("apiserver"), both))["client-ca"] == last
    assert not_after(TlsFiles(both, keys.key("apiserver"))) == {"server": first}


def test_the_log_reminds_once_a_day_from_thirty_days_before_the_end_until_new_files_come(
    tmp_path: Path, keys: pki.Pki
) -> None:
    cert, key = tmp_path / "cert", tmp_path / "key"
    cert.write_bytes(keys.certificate("apiserver").read_bytes())
    key.write_bytes(keys.key("apiserver").read_bytes())
    [end] = ends(cert.read_text())
    clock = Clock(end - 40 * DAY)
    certificates = Certificates(TlsFiles(cert, key), clock)
    with capture_logs() as logs:
        certificates.refresh()
        assert logs == []
        clock.now = end - 29.5 * DAY
        certificates.refresh()
        certificates.refresh()
        clock.now += 0.9 * DAY
        certificates.refresh()
        [reminder] = logs
        assert (reminder["log_level"], reminder["which"]) == ("warning", "server")
        assert reminder["event"] == "a certificate ends soon"
        assert "helm upgrade" in reminder["remedy"]
        clock.now = end + 1
        certificates.refresh()
        assert "placed without the network" in logs[-1]["event"]
        cert.write_text(ending(tmp_path / "new", 4000, key).read_text())
        assert certificates.refresh()
        logs.clear()
        clock.now += DAY
        certificates.refresh()
        assert logs == []
    assert certificates.not_after["server"] > end


def test_scrapers_read_when_each_certificate_ends(keys: pki.Pki) -> None:
    authority = keys.ca
    files = TlsFiles(keys.certificate("apiserver"), keys.key("apiserver"), authority)
    metrics = Metrics(ClusterState(stale_after=180.0), {}, ServerFigures(certificates=Certificates(files)))
    name = "traffic_footprint_extender_certificate_not_after_timestamp_seconds"
    for which, path in (("server", files.cert), ("client-ca", authority)):
        [end] = ends(path.read_text())
        assert metrics.registry.get_sample_value(name, {"which": which}) == end
    assert metrics.registry.get_sample_value(
        "traffic_footprint_extender_certificate_changes_total", {"result": "used"}
    ) == 0  # fmt: skip
