# SPDX-License-Identifier: Apache-2.0
"""NodeFootprint ⇄ annotation text.

Enters: a NodeFootprint, or any text found under the annotation key. Leaves: deterministic JSON of at most
``MAX_BYTES``, or a NodeFootprint. Guarantees: ``decode(encode(x).text) == quantised(x)`` when no pod was left out.
Any text decodes to a value or raises FootprintError with a named reason, and a capacity is at least 1 bit/s or not
known.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from footprint.models import VERSION, LinkRates, NodeFootprint, PodFootprint, Uplink
from footprint.units import known_capacity, quantise

MAX_BYTES: Final = 64 * 1024
"""Upper bound of the annotation's value, in UTF-8 bytes."""


class DecodeReason(StrEnum):
    """Why an annotation could not be used; the values are metric labels."""

    TOO_LARGE = "too-large"
    NOT_JSON = "not-json"
    VERSION = "unsupported-version"
    SHAPE = "wrong-shape"


class FootprintError(ValueError):
    """The annotation is not a footprint. ``reason`` is for counters, the message for people."""

    def __init__(self, reason: DecodeReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Encoded:
    text: str
    cut: int
    """Pods left out to stay within MAX_BYTES. The text states this number too."""


_ADAPTER: Final = TypeAdapter(NodeFootprint)
_ALWAYS_SAID: Final = ("src", "cap", "v")
_NODE_DEFAULTS: Final = {
    k: v for k, v in asdict(NodeFootprint(src="", cap=LinkRates())).items() if k not in _ALWAYS_SAID
}
_UPLINK_DEFAULTS: Final = {k: v for k, v in asdict(Uplink("")).items() if k != "name"}
_POD_DEFAULTS: Final = {f.name: f.default for f in fields(PodFootprint)}


def _quantised_rates(rates: LinkRates) -> LinkRates:
    return LinkRates(quantise(rates.tx), quantise(rates.rx))


def _capacity(rates: LinkRates) -> LinkRates:
    """Link capacity as readers may use it: each direction is at least MIN_RATE, or 0 for not known."""
    return LinkRates(known_capacity(rates.tx), known_capacity(rates.rx))


def _quantised_pod(pod: PodFootprint) -> PodFootprint:
    return replace(
        pod,
        tx=quantise(pod.tx), rx=quantise(pod.rx), etx=quantise(pod.etx), erx=quantise(pod.erx),
        nf=quantise(pod.nf), ms=round(pod.ms, 2),
    )  # fmt: skip


def _quantised_uplink(link: Uplink) -> Uplink:
    return replace(
        link,
        cap=_capacity(_quantised_rates(link.cap)), sure=round(link.sure, 2),
        used=_quantised_rates(link.used), el=_quantised_rates(link.el),
        wire=_quantised_rates(link.wire), wire_el=_quantised_rates(link.wire_el),
    )  # fmt: skip


def _uplink_order(link: Uplink) -> str:
    return link.name


def _order(pod: PodFootprint) -> tuple[float, str]:
    return (-max(pod.tx, pod.rx), pod.uid)


def quantised(node: NodeFootprint) -> NodeFootprint:
    """``node`` as the wire carries it: two significant digits; pods largest first, ties by UID; links by name."""
    return replace(
        node,
        cap=_capacity(_quantised_rates(node.cap)),
        pods=tuple(sorted(map(_quantised_pod, node.pods), key=_order)),
        ended=tuple(sorted(map(_quantised_pod, node.ended), key=_order)),
        el=_quantised_rates(node.el), un=_quantised_rates(node.un), host=_quantised_rates(node.host),
        local=quantise(node.local),
        sure=round(node.sure, 2), used=_quantised_rates(node.used),
        uplinks=tuple(sorted(map(_quantised_uplink, node.uplinks), key=_uplink_order)),
    )  # fmt: skip


def _slim(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Leave out values that equal their defaults."""
    return {k: v for k, v in values.items() if k not in defaults or v != defaults[k]}


def _pod_json(pod: PodFootprint) -> bytes:
    return orjson.dumps(_slim(asdict(pod), _POD_DEFAULTS))


def encode(node: NodeFootprint, max_bytes: int = MAX_BYTES) -> Encoded:
    """Deterministic JSON of ``node``, quantised, largest pods kept.

    Running pods are kept before ended ones, and larger before smaller. ``cut`` states how many were left out, in
    addition to ``node.cut``. Raises ValueError when even a node without pods exceeds ``max_bytes``: that is an
    error in the program, not in the data.
    """
    wire = quantised(node)
    head = _slim(asdict(replace(wire, pods=(), ended=())), _NODE_DEFAULTS)
    if wire.uplinks:
        head["uplinks"] = [_slim(link, _UPLINK_DEFAULTS) for link in head["uplinks"]]
    pods, ended = [_pod_json(p) for p in wire.pods], [_pod_json(p) for p in wire.ended]
    # Bytes of the frame with the longest possible cut figure, then one comma per pod.
    frame = len(orjson.dumps({**head, "cut": 2**53, "ended": [], "pods": []}))
    if frame > max_bytes:
        raise ValueError(f"a footprint without pods takes {frame} bytes, more than {max_bytes}")
    left, kept_pods, kept_ended = max_bytes - frame, 0, 0
    for blob in pods:
        if len(blob) + 1 > left:
            break
        left, kept_pods = left - len(blob) - 1, kept_pods + 1
    if kept_pods == len(pods):
        for blob in ended:
            if len(blob) + 1 > left:
                break
            left, kept_ended = left - len(blob) - 1, kept_ended + 1
    cut = len(pods) - kept_pods + len(ended) - kept_ended
    if cut:
        head["cut"] = node.cut + cut
    if kept_pods:
        head["pods"] = [orjson.Fragment(b) for b in pods[:kept_pods]]
    if kept_ended:
        head["ended"] = [orjson.Fragment(b) for b in ended[:kept_ended]]
    return Encoded(orjson.dumps(head, option=orjson.OPT_SORT_KEYS).decode(), cut)


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']}"


def _refuse_other_version(version: int, cause: Exception | None = None) -> None:
    if version != VERSION:
        message = f"version {ascii(version)[:20]}; this release reads version {VERSION}"
        raise FootprintError(DecodeReason.VERSION, message) from cause


def _version(raw: bytes) -> int:
    """The version stated, or ours when none can be read. A newer version may differ in everything else."""
    try:
        stated = orjson.loads(raw).get("v", VERSION)
    except (orjson.JSONDecodeError, AttributeError):
        return VERSION
    return stated if isinstance(stated, int) else VERSION


def decode(text: str | bytes) -> NodeFootprint:
    """The footprint in ``text``. Unknown keys are ignored, so that newer agents can add fields.

    Raises FootprintError, and nothing else, for anything that is not a footprint of a supported version.
    """
    try:
        raw = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError as error:
        raise FootprintError(DecodeReason.NOT_JSON, f"not UTF-8: {error.reason}") from error
    if len(raw) > MAX_BYTES:
        raise FootprintError(DecodeReason.TOO_LARGE, f"{len(raw)} bytes, more than {MAX_BYTES}")
    try:
        node = _ADAPTER.validate_json(raw)
    except ValidationError as error:
        _refuse_other_version(_version(raw), error)
        kinds = {e["type"] for e in error.errors(include_url=False, include_input=False)}
        reason = DecodeReason.NOT_JSON if "json_invalid" in kinds else DecodeReason.SHAPE
        raise FootprintError(reason, _first_problem(error)) from error
    _refuse_other_version(node.v)
    capacity = _capacity(node.cap)
    node = node if capacity == node.cap else replace(node, cap=capacity)
    if all(_capacity(link.cap) == link.cap for link in node.uplinks):
        return node
    return replace(node, uplinks=tuple(replace(link, cap=_capacity(link.cap)) for link in node.uplinks))
