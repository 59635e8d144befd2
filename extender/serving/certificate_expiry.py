# SPDX-License-Identifier: Apache-2.0
"""When certificates end. Pure.

Enters: PEM text. Leaves: seconds since 1970. The standard library decodes no certificate without a handshake, and
this one field needs no library: a certificate is nested tag-length-value (X.690), and its validity stands at a
fixed place (RFC 5280, 4.1).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_FORMATS: Final = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""UTCTime, and GeneralizedTime from 2050 on; RFC 5280 allows no other spelling."""
_BEFORE_VALIDITY: Final = 3
"""Serial number, signature algorithm, issuer."""


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, content) of what stands side by side. Raises ValueError."""
    at = 0
    while at < len(der):
        tag, size, start = der[at], der[at + 1] if at + 1 < len(der) else 0x80, at + 2
        if size & 0x80:
            width = size & 0x7F
            size, start = int.from_bytes(der[start : start + width], "big"), start + width
            if not 0 < width <= 4:
                raise ValueError("the certificate has a length field that DER does not allow")
        at = start + size
        if at > len(der):
            raise ValueError("the certificate is truncated")
        yield tag, der[start:at]


def _moment(tag: int, text: bytes) -> float:
    if tag not in _FORMATS:
        raise ValueError("the validity of the certificate is neither UTCTime nor GeneralizedTime")
    moment = datetime.strptime(text.decode("ascii"), _FORMATS[tag]).replace(tzinfo=UTC)
    if tag == 0x17 and moment.year >= 2050:  # two digits: RFC 5280 turns at 50, Python at 69
        moment = moment.replace(year=moment.year - 100)
    return moment.timestamp()


def _only(der: bytes, tag: int) -> bytes:
    """The content of the first element, which must have this tag."""
    for found, content in _elements(der):
        if found == tag:
            return content
        break
    raise ValueError("this is not a certificate: it does not begin with a DER sequence")


def not_after(der: bytes) -> float:
    """The moment after which a certificate is not valid. Raises ValueError for what is no certificate."""
    fields = list(_elements(_only(_only(der, _SEQUENCE), _SEQUENCE)))
    if fields and fields[0][0] == _VERSION:
        fields = fields[1:]
    if len(fields) <= _BEFORE_VALIDITY:
        raise ValueError("the certificate has no validity field")
    times = list(_elements(fields[_BEFORE_VALIDITY][1]))
    if len(times) != 2:
        raise ValueError("the validity of the certificate does not consist of two times")
    return _moment(*times[1])


def ends(pem: str) -> list[float]:
    """``not_after`` of every certificate in a file, in its order. Raises ValueError."""
    return [not_after(ssl.PEM_cert_to_DER_cert(text)) for text in _PEM.findall(pem)]
