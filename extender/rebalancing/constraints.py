# SPDX-License-Identifier: Apache-2.0
"""Whether a node passes a pod's own constraints, as far as the API tells. Pure.

Enters: a pod and a node in full, and the pods on that node. Leaves: what keeps the pod from the node, or None. The
rules are kube-scheduler's: nodeSelector and required node affinity, taints, required anti-affinity on a node,
requests against what is allocatable. What is not understood keeps the pod from the node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from extender.rebalancing.objects import NodeInFull, PodInFull
from footprint.declared import Rebalance

_HARD: Final = ("NoSchedule", "NoExecute")


def obstacle(pod: PodInFull, node: NodeInFull, others: Sequence[PodInFull]) -> str | None:
    """What keeps ``pod`` from ``node``, on which ``others`` are."""
    if node.rebalance is Rebalance.NEVER:
        return "the node says never"
    if node.unschedulable or not node.ready:
        return "the node takes no pods"
    if any(node.labels.get(key) != value for key, value in pod.selector.items()):
        return "nodeSelector"
    if pod.terms is not None and not any(_term(term, node) for term in pod.terms):
        return "node affinity"
    for taint in node.taints:
        if taint.get("effect") in _HARD and not any(_tolerates(one, taint) for one in pod.tolerations):
            return f"taint {taint.get('key')}"
    return _apart(pod, others) or _too_full(pod, node, others)


def _too_full(pod: PodInFull, node: NodeInFull, others: Sequence[PodInFull]) -> str | None:
    there = [other for other in others if not other.ended and other.uid != pod.uid]
    for name, wanted in pod.requests.items():
        used = sum((other.requests.get(name, Decimal(0)) for other in there), Decimal(0))
        if wanted > 0 and used + wanted > node.allocatable.get(name, Decimal(0)):
            return f"too little {name} is left"
    return None


def _apart(pod: PodInFull, others: Sequence[PodInFull]) -> str | None:
    for other in others:
        if other.ended or other.uid == pod.uid:
            continue
        for one, against in ((pod, other), (other, pod)):
            if any(against.ns in term.namespaces and selects(term.selector, against.labels) for term in one.apart):
                return f"anti-affinity with {other.ns}/{other.name}"
        if any(doubt.startswith("pod anti-affinity") for doubt in other.doubts):
            return f"anti-affinity of {other.ns}/{other.name} is not evaluated here"
    return None


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector selects ``labels``; an empty one selects everything."""
    wanted = (selector.get("matchLabels") or {}).items()
    return all(labels.get(key) == value for key, value in wanted) and all(
        _matches(one, labels, unknown=True) for one in selector.get("matchExpressions") or ()
    )


def _term(term: Mapping[str, Any], node: NodeInFull) -> bool:
    """Whether a NodeSelectorTerm matches; an empty one matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(_matches(one, node.labels, unknown=False) for one in expressions) and all(
        _matches(one, {"metadata.name": node.name}, unknown=False) for one in fields
    )


def _matches(expression: Mapping[str, Any], labels: Mapping[str, str], *, unknown: bool) -> bool:
    """Whether one requirement holds; ``unknown``: what an operator that is not known here counts as."""
    found, values = labels.get(str(expression.get("key"))), [str(v) for v in expression.get("values") or ()]
    operator = expression.get("operator")
    if operator in ("Gt", "Lt"):
        return _compares(str(operator), found, values)
    known = {
        "In": found in values, "NotIn": found not in values, "Exists": found is not None,
        "DoesNotExist": found is None,
    }  # fmt: skip
    return known.get(str(operator), unknown)


def _compares(operator: str, found: str | None, values: Sequence[str]) -> bool:
    try:
        here, bound = int(found or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return here > bound if operator == "Gt" else here < bound


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """As kube-scheduler sees it. An operator that is not known here tolerates nothing."""
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
    if operator == "Exists":
        return key in ("", taint.get("key"))
    same = key == taint.get("key") and (toleration.get("value") or "") == (taint.get("value") or "")
    return operator == "Equal" and same
