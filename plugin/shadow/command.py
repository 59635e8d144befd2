# SPDX-License-Identifier: Apache-2.0
"""What ``shadow`` does: asks a running extender for its report."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import orjson
from rich.console import Group

from extender.placement.shadow import ShadowOutcome
from footprint.cluster.client import ApiError
from footprint.commands import BadSettingError
from plugin.output.flags import form_of
from plugin.output.listing import document
from plugin.shadow.flags import ShadowSettings
from plugin.terminal import below, line, show, table

MAX_BYTES: Final = 2**20
"""Of a report; it has some hundred bytes."""
_NOT_SHADOW: Final = "the extender is not in shadow mode"
_REMEDY: Final = "start it with --shadow (chart: extender.settings.shadow)"
_MEANINGS: Final = {
    ShadowOutcome.KEPT_OFF: "its node would have been rejected",
    ShadowOutcome.ELSEWHERE: "another node would have scored higher",
    ShadowOutcome.AGREED: "it went where we would have sent it",
    ShadowOutcome.FORGOTTEN: "too many waited at once: not followed",
}


def run(settings: ShadowSettings) -> int:
    """Print the report. Raises BadSettingError, ApiError and ClusterConfigError."""
    if settings.namespace is not None:
        print("note: -n is the old name of --release-namespace here; write --release-namespace", file=sys.stderr)
    found = report(settings)
    form = form_of(settings.output)
    show(rendered(found) if form.is_table else document(dict(found), form), end=form.end)
    return 0


def report(settings: ShadowSettings) -> Mapping[str, Any]:
    """The extender's report. Raises as ``run``."""
    found = _by_url(settings) if settings.url else _by_proxy(settings)
    if not isinstance(found, dict) or not all(isinstance(found.get(part), dict) for part in ("pods", "collided")):
        raise BadSettingError("the response is no shadow report", "name the extender with --url or --service")
    return found


def _by_proxy(settings: ShadowSettings) -> Any:
    namespace, service = quote(settings.where, safe=""), quote(settings.service, safe=":")
    try:
        return settings.reach.read(f"/api/v1/namespaces/{namespace}/services/{service}/proxy/shadow")
    except ApiError as error:
        if error.status != http.HTTPStatus.NOT_FOUND:
            raise
        raise BadSettingError(
            f"no shadow report behind Service {settings.where}/{settings.service}: there is no such Service, or "
            f"{_NOT_SHADOW}",
            f"name it with --release-namespace NAMESPACE --service NAME:PORT, or {_REMEDY}",
        ) from error


def _by_url(settings: ShadowSettings) -> Any:
    url = settings.url
    if not url.startswith(("http://", "https://")):
        raise BadSettingError(f"--url {url!r} is no http:// or https:// address", "use --url http://HOST:PORT")
    try:
        address = f"{url.rstrip('/')}/shadow"
        with urlopen(address, timeout=settings.seconds) as response:  # noqa: S310 - checked above
            return orjson.loads(response.read(MAX_BYTES))
    except HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.NOT_FOUND:
                raise BadSettingError(f"no shadow report at {url}: {_NOT_SHADOW}", _REMEDY) from error
            raise BadSettingError(
                f"{url} responded with status {error.code}", "name the extender's own address with --url"
            ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise BadSettingError(
            f"no shadow report from {url}: {error}", "name a running extender with --url http://HOST:PORT"
        ) from error


def _count(counts: Mapping[str, Any], outcome: ShadowOutcome) -> int:
    count = counts.get(outcome.value, 0)
    return count if isinstance(count, int) else 0


def rendered(found: Mapping[str, Any]) -> Group:
    """For people: pods by what acting would have done, and how many share a busy link with the other kind."""
    rows = []
    for outcome, meaning in _MEANINGS.items():
        collided = "-" if outcome is ShadowOutcome.FORGOTTEN else str(_count(found["collided"], outcome))
        rows.append([outcome.value, str(_count(found["pods"], outcome)), collided, meaning])
    avoidable, pending = found.get("avoidable_collisions", 0), found.get("pending", 0)
    pods = "pod collides" if avoidable == 1 else "pods collide"
    gain = f"{avoidable} {pods} that acting would have sent elsewhere; {pending} not judged yet."
    if never := found.get("never_judged", 0):
        gain += f" {never} will not be: too many came after them."
    return below(table(("OUTCOME", "PODS", "COLLIDED", "MEANING"), rows), line(gain))
