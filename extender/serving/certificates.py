# SPDX-License-Identifier: Apache-2.0
"""The server's certificate and the CA of its clients, followed as their files change.

Enters: paths. Leaves: a TLS context for each new connection. Guarantees: files that cannot be used are an error
with the remedy at start; later they leave the last good context in place, and are counted. Connections that are
open keep what they were opened with. From 30 days before an end on, the log says so once a day.
"""

from __future__ import annotations

import ssl
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from extender.serving.certificate_expiry import ends
from extender.settings import TlsFiles

_log = structlog.get_logger()

_MISMATCH: Final = "KEY_VALUES_MISMATCH"
_DAY: Final = 86400
_REMIND_DAYS: Final = 30
"""Long enough for a maintenance window, and below the chart's renewal at 180 days: nobody who upgrades is told."""
Signature = tuple[tuple[int, int, int], ...]


class CertificateError(Exception):
    """Files that make no TLS context; the message names the remedy."""


def _signature(files: TlsFiles) -> Signature:
    """Changes when a file does; mounted Secrets change by a swapped link, hence the inode. Raises OSError."""
    paths = [files.cert, files.key, *([files.client_ca] if files.client_ca else [])]
    return tuple((s.st_ino, s.st_mtime_ns, s.st_size) for s in (path.stat() for path in paths))


def _refuse_password() -> str:
    raise CertificateError("the key is encrypted, and the extender has no password for it")


def _load_chain(context: ssl.SSLContext, files: TlsFiles) -> None:
    try:
        context.load_cert_chain(files.cert, files.key, password=_refuse_password)
    except CertificateError as error:
        raise CertificateError(f"--tls-key {files.key}: {error}; decrypt it with `openssl pkey`") from error
    except ssl.SSLError as error:
        if error.reason == _MISMATCH:
            message = f"--tls-key {files.key} does not belong to --tls-cert {files.cert}; name a matching pair"
        else:
            message = (
                f"--tls-cert {files.cert} or --tls-key {files.key} is not PEM ({error.reason or error}); "
                f"look at it with `openssl x509 -in {files.cert} -noout -text`"
            )
        raise CertificateError(message) from error


def _load_client_ca(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise CertificateError(
            f"--client-ca {path} holds no PEM certificate ({error.reason or error}); "
            f"look at it with `openssl x509 -in {path} -noout -text`"
        ) from error
    context.verify_mode = ssl.CERT_REQUIRED


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """A server's context. Raises CertificateError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        _load_chain(context, files)
        if files.client_ca is not None:
            _load_client_ca(context, files.client_ca)
    except OSError as error:
        # The loaders do not say which file it was.
        missing = [path for path in (files.cert, files.key, files.client_ca) if path and not path.is_file()]
        name = missing[0] if missing else files.cert
        raise CertificateError(
            f"{name} cannot be read ({error.strerror or error}); check the paths of --tls-cert, --tls-key and "
            "--client-ca, and that this user may read them"
        ) from error
    return context


def not_after(files: TlsFiles) -> dict[str, float]:
    """When what is in use ends, seconds since 1970: ``server`` with the first of its chain, ``client-ca`` with the
    last of its certificates. What cannot be read is left out: OpenSSL has judged the files already."""
    found: dict[str, float] = {}
    for which, path, choose in (("server", files.cert, min), ("client-ca", files.client_ca, max)):
        try:
            moments = ends(path.read_text(encoding="latin-1")) if path else []
        except (OSError, ValueError) as error:
            _log.warning(
                "cannot tell when a certificate expires, no reminder will be logged",
                which=which,
                path=str(path),
                problem=str(error),
            )
            continue
        if moments:
            found[which] = choose(moments)
    return found


class Certificates:
    """The context for new connections; ``refresh`` follows the files."""

    def __init__(self, files: TlsFiles, clock: Callable[[], float] = time.time) -> None:
        """``clock``: seconds since 1970. Raises CertificateError."""
        self._files, self._clock = files, clock
        self.context = tls_context(files)
        self.not_after = not_after(files)
        """When what is in use ends, by ``server`` and ``client-ca``."""
        self._remind_at = 0.0
        self._signature = self._sign()
        self.changes: Counter[str] = Counter(used=0, unusable=0)
        """Changes of the files, by what became of them."""

    def _sign(self) -> Signature | None:
        try:
            return _signature(self._files)
        except OSError:
            return None

    def refresh(self) -> bool:
        """Load the files again if they changed; whether the context is another one now."""
        loaded = self._load_again()
        self._remind(self._clock())
        return loaded

    def _remind(self, now: float) -> None:
        if now < self._remind_at:
            return
        self._remind_at = now + _DAY
        for which, moment in self.not_after.items():
            if moment - now <= _REMIND_DAYS * _DAY:
                _log.warning(
                    "a certificate ends soon" if moment > now
                    else "a certificate has ended: pods are placed without the network",
                    which=which, until=datetime.fromtimestamp(moment, UTC).isoformat(),
                    remedy="run `helm upgrade`, which renews what the chart has made, or replace the files",
                )  # fmt: skip

    def _load_again(self) -> bool:
        signature = self._sign()
        if signature == self._signature:
            return False
        self._signature = signature
        try:
            self.context = tls_context(self._files)
        except CertificateError as error:
            self.changes["unusable"] += 1
            _log.warning("cannot use the new certificates, keeping the previous ones", problem=str(error))
            return False
        self.not_after, self._remind_at = not_after(self._files), 0.0
        self.changes["used"] += 1
        _log.info("certificates loaded again", certificate=str(self._files.cert))
        return True
