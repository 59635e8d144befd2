# SPDX-License-Identifier: Apache-2.0
"""The body of ``POST /explain``: a pod, and optionally where it could go.

Enters: a request's body: the filter's own (ExtenderArgs), the same without candidates, or a bare Pod manifest.
Leaves: the pod, and the candidates' names if any were given. Guarantees: any body becomes an ExplainRequest or an
ArgsError that says what to send instead; numbers that nobody reads may have any size. Pure, so that any thread may
decode.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json

from extender.api.protocol import ArgsError, ArgsReason, ExtenderArgs, check_size
from extender.model.pods import PodInfo, decode_pod

MAX_NAMES: Final = 5000
"""Candidates explained at once: the nodes of the largest cluster that Kubernetes supports."""

MANIFEST: Final[dict[str, Any]] = {
    "title": "v1.Pod", "type": "object", "required": ["metadata"], "not": {"required": ["Pod"]},
    "properties": {
        "kind": {"const": "Pod"},
        "metadata": {
            "type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 1}}
        },
    },
}  # fmt: skip
"""JSON schema of a bare manifest, as far as it is read."""

_FORMS: Final = 'send a Pod\'s manifest, or {"Pod": ..., "NodeNames": [...]}'


class ExplainRequest(NamedTuple):
    """A pod, and the candidates' names; None: all nodes there are."""

    pod: PodInfo
    names: list[str] | None


def _refused(message: str) -> ArgsError:
    return ArgsError(ArgsReason.SHAPE, message)


def _wrapped(asked: dict[str, Any]) -> dict[str, Any]:
    """A bare manifest as the same request with a ``Pod``."""
    kind = asked.get("kind", "Pod")
    if kind != "Pod":
        remedy = "send a Pod, or ask with `kubectl footprint explain -f FILE`, which takes workloads too"
        raise _refused(f"kind {ascii(kind)[:40]} is no Pod; {remedy}")
    if not isinstance(asked.get("metadata"), dict):
        raise _refused(f"no Pod in it; {_FORMS}")
    return {"Pod": asked}


def _arguments(body: bytes) -> ExtenderArgs:
    check_size(body)
    try:
        asked = from_json(body)
    except ValueError as error:
        raise ArgsError(ArgsReason.NOT_JSON, f"{error}; {_FORMS}") from error
    if not isinstance(asked, dict):
        raise _refused(f"not an object; {_FORMS}")
    try:
        return ExtenderArgs.model_validate(asked if "Pod" in asked else _wrapped(asked))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise _refused(f"{'.'.join(map(str, first['loc']))}: {first['msg']}; {_FORMS}") from error


def _name(item: dict[str, Any]) -> str:
    metadata = item.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str):
        raise _refused("Nodes.items: a node without metadata.name")
    return name


def decode_explain_request(body: bytes) -> ExplainRequest:
    """The request in ``body``. Raises ArgsError, and nothing else."""
    args = _arguments(body)
    try:
        pod = decode_pod(args.Pod)
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # whatever an unforeseen shape raises
        raise _refused(f"Pod: {error}") from error
    names = args.NodeNames
    if names is None and args.Nodes is not None:
        names = [_name(item) for item in args.Nodes.items or ()]
    if names is None:  # somebody's manifest, in which the namespace may be left to kubectl
        return ExplainRequest(pod if pod.ns else replace(pod, ns="default"), None)
    if len(names) > MAX_NAMES:
        raise _refused(f"{len(names)} candidates, more than {MAX_NAMES}; leave the names out to explain all nodes")
    return ExplainRequest(pod, [name for name in names if name])
