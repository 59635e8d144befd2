# SPDX-License-Identifier: Apache-2.0
"""Which server certificates are trusted: those that kubectl trusts.

Enters: an API client. Leaves: the same client, whose new connections check certificates in the same way under
every Python. From 3.13 on, Python refuses a certificate without the Authority Key Identifier that RFC 5280
requires. Go accepts it, and clusters of some years ago have such certificates. Signatures, names, dates and
purposes are checked as before.
"""

from __future__ import annotations

import ssl

from kubernetes.client import ApiClient
from urllib3 import HTTPSConnectionPool
from urllib3.connection import HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context


class _Connection(HTTPSConnection):
    def connect(self) -> None:
        """Connect with a context of its own, so that a CA that was replaced is read anew."""
        if self.ssl_context is None:
            # As in Go, a certificate of the trusted file ends the chain, whether it signed itself or not.
            self.ssl_context = create_urllib3_context(verify_flags=ssl.VERIFY_X509_PARTIAL_CHAIN)
            if not (self.ca_certs or self.ca_cert_dir or self.ca_cert_data):
                self.ssl_context.load_default_certs()
        super().connect()


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


def trust_as_kubectl(api: ApiClient) -> None:
    """Make ``api`` accept the server certificates that kubectl accepts."""
    pools = api.rest_client.pool_manager
    if pools.pool_classes_by_scheme.get("https") is HTTPSConnectionPool:  # a SOCKS proxy has classes of its own
        pools.pool_classes_by_scheme = {**pools.pool_classes_by_scheme, "https": _Pool}
