# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import calendar
import ssl
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.serving.certificate_expiry import ends, not_after


def certificate(path: Path, *arguments: str) -> str:
    """A self-signed CA by openssl, as PEM."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]
    files = ["-keyout", str(path / "key"), "-out", str(path / "crt")]
    subprocess.run(["openssl", "req", "-x509", *new, *files, *arguments], check=True, capture_output=True)
    return (path / "crt").read_text()


@pytest.mark.parametrize("days", [1, 730, 3650, 40_000])  # the last one ends after 2050: another kind of time
def test_the_end_is_what_openssl_says(tmp_path: Path, days: int) -> None:
    pem = certificate(tmp_path, "-days", str(days))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem)
    [known] = context.get_ca_certs()
    assert ends(pem) == [ssl.cert_time_to_seconds(str(known["notAfter"]))]
    assert abs(ends(pem)[0] - time.time() - days * 86400) < 3600


def test_a_file_with_many_certificates_and_other_text_gives_all_in_order(tmp_path: Path) -> None:
    first, second = certificate(tmp_path, "-days", "10"), certificate(tmp_path, "-days", "5")
    assert ends(f"Subject: first\n{first}\n# and\n{second}") == [*ends(first), *ends(second)]
    assert ends("nothing") == []


def tlv(tag: int, *content: bytes) -> bytes:
    inside = b"".join(content)
    return bytes([tag, len(inside)]) + inside


def minimal(*times: bytes, version: bytes = b"") -> bytes:
    """The fields up to the validity, each as short as can be."""
    return tlv(0x30, tlv(0x30, version, tlv(2, b"\1"), tlv(0x30), tlv(0x30), tlv(0x30, *times), tlv(0x30)))


BEGIN = tlv(0x17, b"260101000000Z")


@pytest.mark.parametrize(
    ("end", "moment"),
    [
        (tlv(0x17, b"270203040506Z"), (2027, 2, 3, 4, 5, 6)),
        (tlv(0x17, b"491231235959Z"), (2049, 12, 31, 23, 59, 59)),
        (tlv(0x17, b"500101000000Z"), (1950, 1, 1, 0, 0, 0)),
        (tlv(0x18, b"20500101000000Z"), (2050, 1, 1, 0, 0, 0)),
        (tlv(0x18, b"99991231235959Z"), (9999, 12, 31, 23, 59, 59)),
    ],
)
def test_both_kinds_of_time_are_read(end: bytes, moment: tuple[int, ...]) -> None:
    assert not_after(minimal(BEGIN, end)) == calendar.timegm((*moment, 0, 0, 0))
    assert not_after(minimal(BEGIN, end, version=tlv(0xA0, tlv(2, b"\2")))) == calendar.timegm((*moment, 0, 0, 0))


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30",
        b"\x30\x80",
        tlv(0x30),
        tlv(0x31, tlv(0x30)),
        minimal(),
        minimal(BEGIN),
        minimal(BEGIN, tlv(0x17, b"soon")),
        minimal(BEGIN, tlv(0x0C, b"270203040506Z")),
        minimal(BEGIN, tlv(0x17, b"270203040506Z"))[:-9],
    ],
)
def test_what_is_no_certificate_is_an_error(der: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever way
        not_after(der)


@given(st.binary(max_size=300))
def test_nothing_else_is_ever_raised(der: bytes) -> None:
    with suppress(ValueError):
        not_after(der)
