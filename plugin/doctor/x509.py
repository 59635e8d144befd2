# SPDX-License-Identifier: Apache-2.0
"""Certificates: whose, until when, for which names, and who signed them.

Enters: PEM text. Leaves: plain values, and whether one signed another. Pure. Raises ValueError for what is no
certificate. ``cryptography`` reads and verifies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

MOST: Final = 32
"""Certificates of one file that are looked at."""
_LONGEST: Final = 256 * 1024
"""Characters of such a file."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate."""

    subject: str
    begins: datetime
    ends: datetime
    names: frozenset[str]
    """Names and addresses for which it may stand."""
    made: x509.Certificate = field(repr=False, compare=False)


def certificates(pem: str) -> list[Certificate]:
    """All certificates of a PEM file, in its order. Raises ValueError."""
    if len(pem) > _LONGEST:
        raise ValueError(f"it has more than {_LONGEST >> 10} KiB")
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
        return [_read(one) for one in found[:MOST]]
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"it holds no certificate that can be read ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _read(one: x509.Certificate) -> Certificate:
    try:
        found = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = {*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))}
    except x509.ExtensionNotFound:
        names = set()
    return Certificate(
        one.subject.rfc4514_string(), one.not_valid_before_utc, one.not_valid_after_utc, frozenset(names), one
    )


def trusted(chain: Sequence[Certificate], roots: Iterable[Certificate]) -> bool:
    """Whether the first certificate of ``chain`` leads to one of ``roots``, by the others if need be."""
    if not chain:
        return False
    known = list(roots)
    at, left = chain[0], list(chain[1:])
    while True:
        if any(_signed(at, root) or at.made == root.made for root in known):
            return True
        above = next((one for one in left if _signed(at, one)), None)
        if above is None:
            return False
        at = above
        left.remove(above)


def _signed(one: Certificate, by: Certificate) -> bool:
    try:
        one.made.verify_directly_issued_by(by.made)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def stands_for(one: Certificate, name: str) -> bool:
    """Whether a client that asks for ``name`` accepts the certificate: by name, address, or one wildcard label."""
    wanted = name.rstrip(".").lower()
    known = {found.lower() for found in one.names}
    return wanted in known or ("." in wanted and f"*.{wanted.partition('.')[2]}" in known)
