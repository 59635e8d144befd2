# SPDX-License-Identifier: Apache-2.0
"""Certificates made by the real openssl, checked by it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.controlplane import kubeconfig, pki
from lab.errors import LabError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pki.Pki:
    return pki.create(tmp_path_factory.mktemp("lab") / "pki", ["IP:127.0.0.1", "IP:::1", "DNS:kubernetes"])


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("name", "purpose"),
    [
        ("apiserver", "sslserver"),
        (pki.ADMIN, "sslclient"),
        (pki.CONTROLLER_MANAGER, "sslclient"),
        (pki.SCHEDULER, "sslclient"),
    ],
)
def test_every_certificate_is_signed_for_its_purpose(made: pki.Pki, name: str, purpose: str) -> None:
    assert "OK" in openssl(
        "verify", "-x509_strict", "-purpose", purpose, "-CAfile", made.ca, made.certificate(name)
    )


def test_the_server_is_known_by_all_its_names(made: pki.Pki) -> None:
    text = openssl("x509", "-in", made.certificate("apiserver"), "-noout", "-ext", "subjectAltName")
    assert "IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:kubernetes" in text


def test_only_the_administrator_is_in_the_masters_group(made: pki.Pki) -> None:
    subjects = {
        name: openssl("x509", "-in", made.certificate(name), "-noout", "-subject")
        for name in (pki.ADMIN, pki.CONTROLLER_MANAGER, pki.SCHEDULER)
    }
    assert [name for name, subject in subjects.items() if "system:masters" in subject] == [pki.ADMIN]


def test_keys_are_in_a_directory_of_root_alone(made: pki.Pki) -> None:
    assert made.dir.stat().st_mode & 0o077 == 0


def test_a_missing_openssl_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="apt-get install openssl"):
        pki.create(tmp_path / "pki", ["IP:127.0.0.1"])


def test_what_openssl_refuses_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="openssl req failed"):
        pki.create(tmp_path / "pki", ["IP:not-an-address"])


def test_kubeconfigs_are_readable_by_their_owner_alone(tmp_path: Path, made: pki.Pki) -> None:
    path = kubeconfig.write(
        tmp_path / "config", server="https://127.0.0.1:1", ca=made.ca, user=kubeconfig.token_user("secret")
    )
    assert path.stat().st_mode & 0o077 == 0


def test_a_client_is_who_its_certificate_says(made: pki.Pki) -> None:
    pki.issue_client(made, "kubelet-node1", "/O=system:nodes/CN=system:node:node1")
    certificate = made.certificate("kubelet-node1")
    assert "OK" in openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", made.ca, certificate)
    subject = openssl("x509", "-in", certificate, "-noout", "-subject", "-nameopt", "RFC2253")
    assert subject.strip() == "subject=CN=system:node:node1,O=system:nodes"
