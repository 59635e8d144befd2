# SPDX-License-Identifier: Apache-2.0
"""An API server, as one user sees it.

Enters: paths of the API. Leaves: JSON objects. Raises ApiError alone; a refusal is a ``RefusedError``, which says
what to do about it. Guarantees: all but ``write`` change nothing in the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote

import urllib3

from footprint.cluster.client import (
    MERGE_PATCH,
    METADATA_LIST,
    METADATA_ONLY,
    ApiError,
    client_of,
    open_stream,
    request,
)
from footprint.cluster.listing import pages
from footprint.cluster.reflector import Reflector, Sink
from footprint.keys import GROUP
from plugin.kubeconfig import Access

T = TypeVar("T")


class Collection(NamedTuple):
    """All objects of a collection, and the version from which to watch it."""

    items: list[dict[str, Any]]
    version: str


class RefusedError(ApiError):
    """A request without success. ``remedy``: what to do."""

    def __init__(self, status: int, message: str, remedy: str) -> None:
        super().__init__(status, message)
        self.remedy = remedy


class Cluster:
    """See the module."""

    def __init__(self, access: Access, *, user_agent: str, timeout: tuple[float, float]) -> None:
        """``timeout``: seconds to connect, and to wait for a response."""
        self.namespace = access.namespace
        """The context's, else ``default``."""
        self._api = client_of(access.configuration, user_agent=user_agent)
        for header, value in access.headers:
            self._api.set_default_header(header, value)
        self._timeout = timeout

    @property
    def server(self) -> str:
        """Its URL."""
        return str(self._api.configuration.host)

    def read(
        self, path: str, query: Mapping[str, str] | None = None, *, metadata_only: bool = False
    ) -> dict[str, Any]:
        """The JSON object at ``path``. ``metadata_only``: a server that can sends nothing else of objects."""
        listing = _is_collection(path)
        accept = (METADATA_LIST if listing else METADATA_ONLY) if metadata_only else "application/json"
        try:
            return request(self._api, "GET", path, query=query, timeout=self._timeout, accept=accept)
        except ApiError as error:
            raise _refused(error, "GET", path, listing=listing) from error

    def text(self, path: str, most: int) -> str:
        """The first ``most`` bytes of what is at ``path``: a program's own page, behind the API server's proxy."""
        try:
            response = open_stream(self._api, "GET", path, accept="*/*", timeout=self._timeout)
            try:
                body: bytes = response.response.read(most, decode_content=True)
                return body.decode(errors="replace")
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise ApiError(0, f"the response ended early: {error}") from error
            finally:
                response.response.close()  # there may be more than was read
        except ApiError as error:
            raise _refused(error, "GET", path) from error

    def clock(self) -> datetime:
        """The API server's time, in whole seconds. Raises ApiError where no response tells it."""
        try:
            response = open_stream(self._api, "GET", "/version", timeout=self._timeout)
        except ApiError as error:
            raise _refused(error, "GET", "/version") from error
        said = response.response.headers.get("Date", "")
        response.response.drain_conn()
        response.response.release_conn()
        try:
            return parsedate_to_datetime(said).astimezone(UTC)
        except ValueError as error:
            raise ApiError(HTTPStatus.BAD_GATEWAY, "the API server's response has no date") from error

    def items(
        self, path: str, query: Mapping[str, str] | None = None, *, metadata_only: bool = False
    ) -> list[dict[str, Any]]:
        """All objects of the collection at ``path``."""
        return self.collection(path, query, metadata_only=metadata_only).items

    def collection(
        self, path: str, query: Mapping[str, str] | None = None, *, metadata_only: bool = False
    ) -> Collection:
        """All objects of the collection at ``path``, and its version."""
        found: list[dict[str, Any]] = []
        version = ""
        for page in pages(lambda part: self.read(path, part, metadata_only=metadata_only), query):
            found += [item for item in page.items if isinstance(item, dict)]
            version = page.version
        return Collection(found, version)

    def follow(
        self,
        path: str,
        *,
        decode: Callable[[dict[str, Any]], T | None],
        sink: Sink[T],
        query: Mapping[str, str] | None = None,
        metadata_only: bool = False,
    ) -> Reflector[T]:
        """What will follow the collection at ``path`` in a thread of its own, once it is started."""
        return Reflector(self._api, path, decode=decode, sink=sink, query=query, metadata_only=metadata_only)

    def write(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = MERGE_PATCH,
    ) -> dict[str, Any]:
        """Send ``body`` by ``method`` (PATCH, POST, DELETE); the object of the response."""
        try:
            return request(
                self._api, method, path, query=query, body=body, content_type=content_type, timeout=self._timeout
            )
        except ApiError as error:
            raise _refused(error, method, path) from error


_VERBS: Final = {"PATCH": "patch", "POST": "create", "DELETE": "delete", "PUT": "update"}
_UNREACHABLE: Final = "check the address and the way to it with `kubectl version`"


class _Resource(NamedTuple):
    plural: str
    """As ``kubectl auth can-i`` takes it, such as ``trafficfootprints.traffic-footprint.io``."""
    group: str
    namespace: str
    """Empty for all."""
    name: str


def _resource(path: str) -> _Resource:
    """What a path of the API names."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    core = parts[:1] == ["api"]
    group, rest = ("", parts[2:]) if core else ("".join(parts[1:2]), parts[3:])
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    plural, name, *below = [*rest, "", ""]
    plural = f"{plural}.{group}" if group else plural
    return _Resource(f"{plural}/{below[0]}" if below and below[0] else plural, group, namespace, name)


def _is_collection(path: str) -> bool:
    return not _resource(path).name


def _refused(error: ApiError, method: str, path: str, *, listing: bool = False) -> RefusedError:
    """``error`` with its remedy."""
    what = _resource(path)
    verb = ("list" if listing else "get") if method == "GET" else _VERBS[method]
    message, remedy = str(error), "try again, and read the API server's log if it stays so"
    if error.status == 0:
        remedy = "give it longer with --request-timeout 60s" if "timed out" in message else _UNREACHABLE
    elif error.status == HTTPStatus.UNAUTHORIZED:
        message = f"the API server does not accept these credentials ({message})"
        remedy = "log in again, or choose others with --context or --user"
    elif error.status == HTTPStatus.FORBIDDEN:
        where = f"-n {what.namespace}" if what.namespace else "-A"
        remedy = (
            f"ask for a role with the verb {verb} on {what.plural}, and check it with "
            f"`kubectl auth can-i {verb} {what.plural} {where}`"
        )
    elif error.status == HTTPStatus.NOT_FOUND and what.group == GROUP and not what.name:
        message = f"this cluster has no {what.plural}: the CRD is not installed"
        remedy = "apply manifests/base/crd.yaml, or install the chart, which brings it"
    elif error.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
        remedy = "correct what it names"
    elif error.status == HTTPStatus.NOT_FOUND:
        remedy = "check the name, and its namespace (-n)"
    elif error.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        remedy = "the API server is overloaded or starting; try again soon"
    return RefusedError(error.status, message, remedy)
