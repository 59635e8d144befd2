from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from extender.certificates import CertificateError, Certificates, TlsFiles, tls_context
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
