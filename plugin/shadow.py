# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint shadow``: what an extender in shadow mode has seen, and what switching it on would gain.

Enters: the report of a running extender, by its URL or through the API server's service proxy. Leaves: a table, or
the report as JSON. Reads only. Each replica counts for itself: one of them is asked.
"""

from __future__ import annotations

import argparse
import http.client
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import orjson
from rich.console import Group
from rich.table import Table
from rich.text import Text

from extender.placement.shadow import ShadowOutcome
from footprint.cluster.client import ApiError
from footprint.keys import DEFAULT_NAMESPACE
from footprint.service import fail

SERVICE: Final = "traffic-footprint-extender:metrics"
"""As the chart names it, and its port without certificates."""

_SECONDS: Final = 10.0
_NOT_SHADOW: Final = "the extender is not in shadow mode"
_REMEDY: Final = "start it with --shadow (chart: extender.settings.shadow)"
_MEANINGS: Final = {
    ShadowOutcome.KEPT_OFF: "its node would have been rejected",
    ShadowOutcome.ELSEWHERE: "another node would have scored higher",
    ShadowOutcome.AGREED: "it went where we would have sent it",
    ShadowOutcome.FORGOTTEN: "too many waited at once: not followed",
}

Read = Callable[[str], Mapping[str, Any]]
"""The JSON object at a path of the API server. Raises ApiError."""


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """The ``shadow`` command."""
    parser = commands.add_parser("shadow", parents=[common], help="what --shadow would have changed")
    parser.add_argument("--url", help="a running extender, such as http://127.0.0.1:8890; "
                        "absent: through the API server's service proxy")  # fmt: skip
    parser.add_argument("-n", "--namespace", default=DEFAULT_NAMESPACE, help="of its Service (%(default)s)")
    parser.add_argument("--service", default=SERVICE, metavar="NAME[:PORT]", help="its Service (%(default)s)")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")


def report(arguments: argparse.Namespace, read: Callable[[], Read]) -> Mapping[str, Any]:
    """The extender's report. Ends the program with one line when there is none; raises ApiError."""
    if arguments.url:
        found = _by_url(arguments.url)
    else:
        namespace, service = quote(arguments.namespace, safe=""), quote(arguments.service, safe=":")
        try:
            found = read()(f"/api/v1/namespaces/{namespace}/services/{service}/proxy/shadow")
        except ApiError as error:
            if error.status != http.HTTPStatus.NOT_FOUND:
                raise
            fail(
                f"no shadow report behind Service {arguments.namespace}/{arguments.service}: there is no such "
                f"Service, or {_NOT_SHADOW}",
                f"name it with -n NAMESPACE --service NAME:PORT, or {_REMEDY}",
            )
    if not isinstance(found, dict) or not all(isinstance(found.get(part), dict) for part in ("pods", "collided")):
        fail("what answered is no shadow report", "name the extender with --url or --service")
    return found


def _by_url(url: str) -> Any:
    if not url.startswith(("http://", "https://")):
        fail(f"--url {url!r} is no http:// or https:// address", "use --url http://HOST:PORT")
    try:
        with urlopen(f"{url.rstrip('/')}/shadow", timeout=_SECONDS) as answer:  # noqa: S310 - checked above
            return orjson.loads(answer.read())
    except HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.NOT_FOUND:
                fail(f"no shadow report at {url}: {_NOT_SHADOW}", _REMEDY)
            fail(f"{url} answered {error.code}", "name the extender's own address with --url")
    except (OSError, http.client.HTTPException, ValueError) as error:
        fail(f"no shadow report from {url}: {error}", "name a running extender with --url http://HOST:PORT")


def _count(counts: Mapping[str, Any], outcome: ShadowOutcome) -> int:
    count = counts.get(outcome.value, 0)
    return count if isinstance(count, int) else 0


def rendered(found: Mapping[str, Any]) -> Group:
    """For people: pods by what acting would have done, and how many share a busy link with the other kind."""
    table = Table("OUTCOME", "PODS", "COLLIDED", "MEANING", box=None)
    for outcome, meaning in _MEANINGS.items():
        collided = "-" if outcome is ShadowOutcome.FORGOTTEN else str(_count(found["collided"], outcome))
        table.add_row(outcome.value, str(_count(found["pods"], outcome)), collided, meaning)
    avoidable, pending = found.get("avoidable_collisions", 0), found.get("pending", 0)
    pods = "pod collides" if avoidable == 1 else "pods collide"
    gain = f"{avoidable} {pods} that acting would have sent elsewhere; {pending} not judged yet."
    if never := found.get("never_judged", 0):
        gain += f" {never} will not be: too many came after them."
    return Group(table, Text(gain))


def as_json(found: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(found), option=orjson.OPT_INDENT_2).decode()
