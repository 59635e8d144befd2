# SPDX-License-Identifier: Apache-2.0
"""kube-scheduler's ``extender/v1``, as it is on the wire.

Enters: a request's body. Leaves: ExtenderArgs with only the fields used, and the two answers. The Go types carry
no JSON tags: top-level keys are the Go names (``Pod``, ``NodeNames``, ``Score``), the Kubernetes objects inside
are camelCase. Guarantees: any body decodes to a value or raises ArgsError with a named reason.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extender.model.pods import PodInfo, decode_pod
from extender.placement.scoring import NEUTRAL

MAX_BODY: Final = 8 * 2**20
"""Bytes. 5,000 node names take some 250 kB; full Node objects in the other form about 10 kB each."""

MAX_CANDIDATES: Final = 20_000
"""Candidates of one request: four times the nodes of the largest cluster that Kubernetes supports."""
MAX_VALUES: Final = 250_000
"""Values in one request's JSON, counted by their commas: decoded, each takes up to 64 bytes. 20,000 names and
a long pod stay far below."""

_NAMES_KEY: Final = b',"NodeNames":'


class ArgsReason(StrEnum):
    """Why a body could not be used; the values are metric labels."""

    NOT_JSON = "not-json"
    SHAPE = "wrong-shape"
    NO_CANDIDATES = "no-candidates"
    TOO_MANY_NAMES = "too-many-names"
    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    TOO_MANY = "too-many"


class ArgsError(ValueError):
    """A body that is not an ExtenderArgs. ``reason`` is for counters, the message for people."""

    def __init__(self, reason: ArgsReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _named(what: str) -> dict[str, Any]:
    """JSON schema of a Kubernetes object, as far as we need it: it has a name."""
    metadata = {"type": "object", "properties": {"name": {"type": "string", "minLength": 1}}, "required": ["name"]}
    return {"type": "object", "title": what, "properties": {"metadata": metadata}, "required": ["metadata"]}


class NodeList(BaseModel):
    """Full Node objects, sent when ``nodeCacheCapable`` is false; they go back as they came."""

    model_config = ConfigDict(extra="allow")

    items: list[Annotated[dict[str, Any], Field(json_schema_extra=_named("v1.Node"))]] | None = None


class ExtenderArgs(BaseModel):
    """Body of kube-scheduler's request: a pod and its candidate nodes."""

    Pod: dict[str, Any] = Field(description="The pod to place.", json_schema_extra=_named("v1.Pod"))
    Nodes: NodeList | None = Field(None, description="Candidates, with nodeCacheCapable: false.")
    NodeNames: list[str] | None = Field(None, description="Candidates' names, with nodeCacheCapable: true.")


class ExtenderFilterResult(BaseModel):
    """The nodes that pass, in the form they were sent, and why the others do not."""

    Nodes: NodeList | None = None
    NodeNames: list[str] | None = None
    FailedNodes: dict[str, str] = Field(default={}, description="Not used: preemption would evict for nothing.")
    FailedAndUnresolvableNodes: dict[str, str] = Field(
        default={}, description="Node to reason; evicting pods would not help."
    )
    Error: str = Field("", description="Set when the request could not be understood.")


class HostPriority(BaseModel):
    """One node's score."""

    Host: str
    Score: int = Field(ge=0, le=10)


class Request:
    """A decoded request: the pod, and the candidates' names whichever way they were sent, none of them empty."""

    __slots__ = ("items", "names", "nodes", "pod", "written")

    def __init__(
        self, pod: PodInfo, names: list[str], nodes: NodeList | None = None, written: bytes | None = None
    ) -> None:
        self.pod = pod
        self.names = names if all(names) else [name for name in names if name]
        self.nodes = nodes
        self.items = dict(zip(names, nodes.items or (), strict=True)) if nodes else {}
        self.written = written if self.names is names else None
        """``names`` as JSON, if they came as such."""


def check_size(body: bytes) -> None:
    """Raises ArgsError for more values than any use needs, before anything is decoded."""
    if len(body) > MAX_VALUES and body.count(b",") > MAX_VALUES:
        raise ArgsError(
            ArgsReason.TOO_MANY_NAMES, f"more than {MAX_VALUES} values; send at most {MAX_CANDIDATES} names"
        )


def _check_candidates(count: int) -> None:
    if count > MAX_CANDIDATES:
        raise ArgsError(
            ArgsReason.TOO_MANY_NAMES,
            f"{count} candidates, more than {MAX_CANDIDATES}; lower kube-scheduler's percentageOfNodesToScore",
        )


def _problem(error: ValidationError) -> ArgsError:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    reason = ArgsReason.NOT_JSON if first["type"] == "json_invalid" else ArgsReason.SHAPE
    return ArgsError(reason, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}")


def _item_name(item: dict[str, Any]) -> str:
    metadata = item.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str):
        raise ArgsError(ArgsReason.SHAPE, "Nodes.items: a node without metadata.name")
    return name


def _pod(obj: dict[str, Any]) -> PodInfo:
    try:
        return decode_pod(obj)
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # whatever an unforeseen shape raises
        raise ArgsError(ArgsReason.SHAPE, f"Pod: {error}") from error


def _model_request(body: bytes) -> Request:
    """The request in ``body``, of either form, or what is wrong with it (ArgsError)."""
    try:
        args = ExtenderArgs.model_validate_json(body)
    except ValidationError as error:
        raise _problem(error) from error
    pod = _pod(args.Pod)
    if args.NodeNames is not None:
        _check_candidates(len(args.NodeNames))
        return Request(pod, args.NodeNames)
    if args.Nodes is not None:
        _check_candidates(len(args.Nodes.items or ()))
    else:
        raise ArgsError(
            ArgsReason.NO_CANDIDATES,
            "the request has neither NodeNames nor Nodes; set nodeCacheCapable: true for the extender",
        )
    return Request(pod, [_item_name(item) for item in args.Nodes.items or ()], args.Nodes)


def _names(written: bytes) -> list[str] | None:
    """The names in a JSON list of strings; None for anything else."""
    names = _loads(written)
    if not isinstance(names, list):
        return None
    try:
        "".join(names)  # the quickest way to see that all are strings
    except TypeError:
        return None
    return names


def _loads(text: bytes) -> Any:
    """JSON, or None for what is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


class Reader:
    """Decodes requests. What a request repeats of the last one is compared, not decoded again: kube-scheduler
    asks filter and prioritize about the same pod, and names in the second what the first let pass. Belongs to one
    thread."""

    def __init__(self) -> None:
        self._pod: tuple[bytes, PodInfo] | None = None
        self._names: list[tuple[bytes, list[str]]] = []
        """Those of the last request, and those that its response let pass, with their JSON."""

    def read(self, body: bytes) -> Request:
        """The request in ``body``. Raises ArgsError, and nothing else."""
        check_size(body)
        return self._plain(body) or _model_request(body)

    def expect(self, written: bytes, names: list[str]) -> None:
        """The next request will likely name these, whose JSON is ``written``."""
        self._names[1:] = [(written, names)]

    def _plain(self, body: bytes) -> Request | None:
        """The request in ``body`` when it is what kube-scheduler sends and nothing is wrong with it; else None.

        Its parts are decoded apart: the names end it. Quotation marks inside strings are escaped, so that the
        first ``,"NodeNames":`` is a key; were it one of an object inside, the part before would be no JSON.
        """
        start = body.find(_NAMES_KEY)
        if start < 0 or not body.endswith(b"]}"):
            return None
        head, written = body[:start], body[start + len(_NAMES_KEY) : -1]
        if len(written) > MAX_CANDIDATES and written.count(b",") >= MAX_CANDIDATES:
            return None
        pod, names = self._pod_of(head), self._names_of(written)
        return None if pod is None or names is None else Request(pod, names, None, written)

    def _pod_of(self, head: bytes) -> PodInfo | None:
        if self._pod is not None and self._pod[0] == head:
            return self._pod[1]
        args = _loads(head + b"}")
        if not isinstance(args, dict) or args.get("Nodes") is not None or not isinstance(args.get("Pod"), dict):
            return None
        pod = _pod(args["Pod"])
        self._pod = head, pod
        return pod

    def _names_of(self, written: bytes) -> list[str] | None:
        for known, names in self._names:
            if known == written:
                return names
        found = _names(written)
        if found is not None:
            self._names = [(written, found)]
        return found


def _dumps(answer: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(answer)
    except TypeError:  # a Node may hold an integer beyond 64 bits; it goes back as it came
        return json.dumps(answer).encode()


def encode_filter(request: Request, passed: list[str], rejected: dict[str, str]) -> bytes:
    """ExtenderFilterResult as JSON, in the form of ``request``."""
    answer: dict[str, Any] = {"FailedAndUnresolvableNodes": rejected, "Error": ""}
    if request.nodes is None:
        answer["NodeNames"] = passed
    else:
        rest = request.nodes.model_extra or {}
        answer["Nodes"] = {**rest, "items": [request.items[name] for name in passed]}
    return _dumps(answer)


def encode_filter_error(message: str) -> bytes:
    """A filter's failure: status 200 with ``Error``; kube-scheduler goes on when the extender is ignorable."""
    return orjson.dumps({"Error": message})


def everything_passes(request: Request) -> bytes:
    """The filter's response that changes nothing: it fails open."""
    if request.written is not None:
        return b'{"NodeNames":%b,"FailedAndUnresolvableNodes":{},"Error":""}' % request.written
    return encode_filter(request, request.names, {})


def equal_scores(request: Request) -> bytes:
    """The scores that change nothing. Written from the request's own JSON where that is compact and plain."""
    names, written = request.names, request.written
    if names and written is not None and b"\\" not in written and written.count(b'","') == len(names) - 1:
        tail = b'","Score":%d},{"Host":"' % NEUTRAL
        return b'[{"Host":%b,"Score":%d}]' % (written[1:-1].replace(b'","', tail), NEUTRAL)
    return encode_scores(names, [NEUTRAL] * len(names))


def encode_scores(names: list[str], scores: list[int]) -> bytes:
    """HostPriorityList as JSON."""
    return orjson.dumps([{"Host": name, "Score": score} for name, score in zip(names, scores, strict=True)])
