# SPDX-License-Identifier: Apache-2.0
"""Certificates and keys of one lab, made by the openssl command: a CA, a server and three clients.

Enters: a directory. Leaves: PEM files in it. Guarantees: the directory is root's alone.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.errors import LabError

_DAYS: Final = "30"  # longer than any lab lives
_EMPTY_CONFIG: Final = "[req]\ndistinguished_name = dn\n[dn]\n"  # the machine's own openssl.cnf must not interfere

ADMIN: Final = "admin"
CONTROLLER_MANAGER: Final = "controller-manager"
SCHEDULER: Final = "scheduler"
KUBELET_CLIENT: Final = "apiserver-kubelet"
"""The API server's towards kubelets; there where nodes run one."""
_SUBJECTS: Final = {
    ADMIN: "/O=system:masters/CN=traffic-footprint-lab",
    CONTROLLER_MANAGER: "/CN=system:kube-controller-manager",
    SCHEDULER: "/CN=system:kube-scheduler",
}


@dataclass(frozen=True)
class Pki:
    """Where the files are; made by ``create``."""

    dir: Path

    @property
    def ca(self) -> Path:
        return self.dir / "ca.crt"

    @property
    def service_account_key(self) -> Path:
        """Signs and verifies service-account tokens."""
        return self.dir / "service-account.key"

    def certificate(self, name: str) -> Path:
        return self.dir / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.dir / f"{name}.key"


def create(directory: Path, server_names: Sequence[str]) -> Pki:
    """Make everything in ``directory``; ``server_names`` are the API server's, as ``IP:...`` and ``DNS:...``.

    Raises LabError when openssl is missing or refuses.
    """
    directory.mkdir(mode=0o700, parents=True)
    pki = Pki(directory)
    (directory / "openssl.cnf").write_text(_EMPTY_CONFIG)
    _openssl(pki, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", pki.service_account_key)
    _openssl(
        pki, *_request(pki, "ca", "/CN=traffic-footprint-lab-ca"),
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    issue_server(pki, "apiserver", server_names)
    for name, subject in _SUBJECTS.items():
        issue_client(pki, name, subject)
    return pki


def issue_client(pki: Pki, name: str, subject: str) -> None:
    """One more certificate and key, for a client that is ``subject``, such as ``/O=GROUP/CN=USER``.

    Raises LabError.
    """
    _openssl(pki, *_signed(pki, name, subject), "-addext", "extendedKeyUsage=clientAuth")


def issue_server(pki: Pki, name: str, server_names: Sequence[str]) -> None:
    """One more certificate and key, for a server of ``server_names``. Raises LabError."""
    _openssl(
        pki, *_signed(pki, name, f"/CN={name}"),
        "-addext", "extendedKeyUsage=serverAuth", "-addext", f"subjectAltName={','.join(server_names)}",
    )  # fmt: skip


def _request(pki: Pki, name: str, subject: str) -> list[str | Path]:
    return [
        "req", "-x509", "-config", pki.dir / "openssl.cnf", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-days", _DAYS, "-subj", subject, "-keyout", pki.key(name), "-out", pki.certificate(name),
    ]  # fmt: skip


def _signed(pki: Pki, name: str, subject: str) -> list[str | Path]:
    return [
        *_request(pki, name, subject), "-CA", pki.ca, "-CAkey", pki.key("ca"),
        "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,digitalSignature",
    ]  # fmt: skip


def _openssl(pki: Pki, *arguments: str | Path) -> None:
    try:
        done = subprocess.run(
            ["openssl", *arguments],
            cwd=pki.dir,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError("openssl is not installed; run `apt-get install openssl`") from error
    if done.returncode:
        raise LabError(f"openssl {arguments[0]} failed: {done.stderr.strip()}; the lab needs OpenSSL 3.0 or newer")
