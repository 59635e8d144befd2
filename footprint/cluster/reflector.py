# SPDX-License-Identifier: Apache-2.0
"""Follow one collection of the API: list it page by page, then watch it.

Enters: a collection's path, and a ``decode`` that keeps only what its reader uses. Leaves: calls on a Sink, from
the reflector's thread: ``replace`` or ``replace_paged`` with the whole collection after each list, then ``upsert``
and ``delete`` as events arrive. Guarantees: never raises. It lists again when the server says that the version is
too old, refuses it ``RELIST_AFTER`` times, or is silent for ``SILENCE_SECONDS``. It backs off while the server is
away, or ends watches as soon as they are opened. It counts failures and objects that could not be decoded.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import orjson
import structlog
import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.rest import RESTResponse

from footprint.cluster.client import METADATA_LIST, METADATA_ONLY, ApiError, open_stream, request
from footprint.cluster.listing import PAGE_SIZE, pages
from footprint.cluster.repeats import Repeats

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

WATCH_SECONDS: Final = 240
"""The server ends a watch after once to twice this time, so that watches spread over API servers again."""
SILENCE_SECONDS: Final = 150.0
"""The server sends a bookmark every minute. A watch that shows nothing for this long is given up, and the
collection listed again: the server hangs, or its etcd was restored to a time before our version."""
LIST_TIMEOUT: Final = (3.0, 60.0)
"""Seconds to connect, and to wait for more of a page."""
RELIST_AFTER: Final = 3
"""Answered failures at one version after which the collection is listed again: the server does not serve that
version any more, whatever it says."""
BACKOFF_FIRST: Final = 0.2
BACKOFF_LAST: Final = 15.0


class _Accept(NamedTuple):
    """In which form objects are asked for."""

    listing: str
    watch: str


_WHOLE: Final = _Accept("application/json", "application/json")
_METADATA: Final = _Accept(METADATA_LIST, METADATA_ONLY)

_log = structlog.get_logger()


class Sink(Protocol[T_contra]):
    """Where a collection goes; called from one thread."""

    def replace(self, items: Sequence[T_contra]) -> None: ...
    def upsert(self, item: T_contra) -> None: ...
    def delete(self, item: T_contra) -> None: ...


@runtime_checkable
class PagedSink(Protocol[T_contra]):
    """A sink of a collection that is too large to be in memory twice."""

    def replace_paged(self, pages: Iterable[Sequence[T_contra]]) -> None:
        """Take in each page before the next one is read. After the last page, drop what no page had.

        Reading raises where a page fails. The sink passes this on and drops nothing; the collection is listed
        again.
        """


class _Gone(Exception):  # noqa: N818 - not a fault: the requested version is compacted
    """List the collection again."""


def backoff(attempt: int, draw: Callable[[], float] = random.random) -> float:
    """Seconds to wait after the ``attempt``-th failure in a row, counted from 1. The time doubles up to a limit.
    It is drawn between half and the whole, so that clients of a restarted API server do not return together."""
    ceiling = min(BACKOFF_LAST, BACKOFF_FIRST * 2.0 ** min(attempt - 1, 30))
    return float(ceiling * (0.5 + draw() / 2))


def lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines from arbitrary chunks. An unfinished last line is dropped: the watch resumes before it."""
    pending = b""
    for chunk in chunks:
        *whole, pending = (pending + chunk).split(b"\n")
        yield from (line for line in whole if line)


class Reflector(Generic[T]):
    """One collection followed by one thread; see the module."""

    def __init__(
        self,
        api: ApiClient,
        path: str,
        *,
        decode: Callable[[dict[str, Any]], T | None],
        sink: Sink[T],
        query: Mapping[str, str] | None = None,
        page_size: int = PAGE_SIZE,
        metadata_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accept = _METADATA if metadata_only else _WHOLE
        self._api, self._path, self._decode, self._sink = api, path, decode, sink
        self._query, self._page_size, self._clock = dict(query or {}), page_size, clock
        self._version: str | None = None
        self._listed = ""
        self._response: RESTResponse | None = None
        self._progress = False
        """This attempt has shown something, or has lasted."""
        self._refused = 0
        """Answered failures at ``_refused_version``."""
        self._refused_version: str | None = None
        self._heard_at = clock()
        self.synced = threading.Event()
        """Set after the first complete list."""
        self.connects = 0
        """Watches opened."""
        self.relists = 0
        self.errors, self._repeats = 0, Repeats()
        self.undecodable = 0
        self.last_error: ApiError | None = None

    def start(self, stop: threading.Event) -> threading.Thread:
        """``run`` in a daemon thread."""
        thread = threading.Thread(target=self.run, args=(stop,), name=f"watch {self._path}", daemon=True)
        thread.start()
        return thread

    def interrupt(self) -> None:
        """Break off a waiting watch, so that ``run`` sees its stop event at once."""
        response = self._response
        if response is not None:
            try:
                response.response.shutdown()
            except (RuntimeError, ValueError, OSError, AttributeError):
                _log.debug("watch already closed", path=self._path)

    @property
    def age(self) -> float:
        """Seconds since the server last showed the collection's state: a page, an event or a bookmark."""
        return max(0.0, self._clock() - self._heard_at)

    def _heard(self) -> None:
        self._heard_at = self._clock()

    @property
    def connected(self) -> bool:
        """A watch is open: what it has shown is what the server knows."""
        return self._response is not None

    def run(self, stop: threading.Event) -> None:
        """Follow the collection until ``stop`` is set."""
        idle = 0  # attempts in a row that showed nothing
        while not stop.is_set():
            self._progress = False
            error = self._attempt(stop)
            if stop.is_set():
                return
            idle = 0 if self._progress else idle + 1
            if error is not None:
                self._failed(error, max(idle, 1))
                self._give_up_version(error)
            if idle or error is not None:
                stop.wait(backoff(max(idle, 1)))

    def _attempt(self, stop: threading.Event) -> Exception | None:
        """List if that is due, then watch to the end. Returns what went wrong."""
        listed = self._version is None
        try:
            if listed:
                self._list()
            self._watch(stop)
        except _Gone:
            self._version = None
            self.relists += 1
            self._progress |= not listed  # listing at once helps, unless this version was just listed
        except (ApiError, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return error
        except Exception as error:  # a response of unknown shape must not end this thread: nobody would notice
            _log.exception("response not understood, trying again", path=self._path)
            return error
        return None

    def _give_up_version(self, error: Exception) -> None:
        """List again after ``RELIST_AFTER`` answered failures at one version."""
        if self._version is None or not _answered(error):
            return
        self._refused = self._refused + 1 if self._version == self._refused_version else 1
        self._refused_version = self._version
        if self._refused >= RELIST_AFTER:
            _log.warning(
                "the API server keeps refusing this version, listing again",
                path=self._path,
                version=self._version,
                error=str(error),
            )
            self._version = None
            self.relists += 1

    def _failed(self, error: Exception, failures: int) -> None:
        self.errors += 1
        self.last_error = error if isinstance(error, ApiError) else ApiError(0, str(error))
        if self._repeats.tells(failures, error):
            _log.warning("watch failed, trying again", path=self._path, error=str(error), failures=failures)

    def _list(self) -> None:
        if isinstance(self._sink, PagedSink):
            self._sink.replace_paged(self._pages())
        else:
            self._sink.replace([item for page in self._pages() for item in page])
        self._version, self._refused_version = self._listed, None
        self.synced.set()

    def _pages(self) -> Iterator[list[T]]:
        """The collection, read page by page; ``_listed`` is its version afterwards."""
        for page in pages(self._get_page, self._query, self._page_size):
            self._listed = page.version
            self._heard()
            yield [item for raw in page.items if (item := self._slim(raw)) is not None]

    def _get_page(self, query: Mapping[str, str]) -> Mapping[str, Any]:
        try:
            return request(
                self._api, "GET", self._path, query=query, accept=self._accept.listing, timeout=LIST_TIMEOUT
            )
        except ApiError as error:
            if error.status == HTTPStatus.GONE:  # the list took longer than the server keeps its version
                raise _Gone from error
            raise

    def _watch(self, stop: threading.Event) -> None:
        seconds = WATCH_SECONDS + random.randrange(WATCH_SECONDS)  # noqa: S311 - spreads load, guards nothing
        query = {
            **self._query, "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": self._version or "",
            "timeoutSeconds": str(seconds),
        }  # fmt: skip
        try:
            response = open_stream(
                self._api,
                "GET",
                self._path,
                query=query,
                accept=self._accept.watch,
                timeout=(3.0, SILENCE_SECONDS),
            )
        except ApiError as error:
            if error.status == HTTPStatus.GONE:
                raise _Gone from error
            raise
        self._response, opened = response, time.monotonic()
        self.connects += 1
        try:
            for line in lines(response.response.stream(2**16)):
                self._event(orjson.loads(line))
                self._progress = True
                self._heard()
                if stop.is_set():
                    return
        except urllib3.exceptions.ReadTimeoutError as error:
            self._version = None
            message = f"nothing heard for {SILENCE_SECONDS:g} s, not even a bookmark; it is listed again"
            raise ApiError(0, message) from error
        finally:
            self._progress |= time.monotonic() - opened > BACKOFF_LAST
            self._response = None
            response.response.close()

    def _event(self, event: dict[str, Any]) -> None:
        kind, raw = event.get("type"), event.get("object") or {}
        if kind == "ERROR":
            if raw.get("code") == HTTPStatus.GONE:
                raise _Gone
            raise ApiError(int(raw.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR), str(raw.get("message")))
        if kind != "BOOKMARK" and (item := self._slim(raw)) is not None:
            (self._sink.delete if kind == "DELETED" else self._sink.upsert)(item)
        self._version = (raw.get("metadata") or {}).get("resourceVersion") or self._version

    def _slim(self, raw: dict[str, Any]) -> T | None:
        try:
            return self._decode(raw)
        except Exception:
            self.undecodable += 1
            _log.warning("object passed over", path=self._path, name=_name(raw), exc_info=True)
            return None


def _answered(error: Exception) -> bool:
    """The server said something that cannot be used, rather than nothing."""
    if isinstance(error, ApiError):
        return error.status != 0
    return not isinstance(error, (urllib3.exceptions.HTTPError, OSError))


def _name(raw: object) -> str:
    metadata = raw.get("metadata") if isinstance(raw, dict) else None
    return str(metadata.get("name")) if isinstance(metadata, dict) else "?"
