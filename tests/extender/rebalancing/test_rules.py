# SPDX-License-Identifier: Apache-2.0
"""Which pods may be moved, and which nodes may take them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.rebalancing.constraints import obstacle
from extender.rebalancing.eligibility import unmovable
from extender.rebalancing.gain import Reason
from extender.rebalancing.objects import MIRROR, PodInFull, pod_in_full, requests_of
from footprint.declared import Rebalance
from tests.extender.rebalancing.builders import ACT, Change, node, pod

ALLOW, NEVER = Rebalance.ALLOW, Rebalance.NEVER


def why(
    change: Change | None = None, *, says: str | None = "allow", namespace: Rebalance | None = None,
    on_node: Rebalance | None = None, expected: str = "full", schedulers: tuple[str, ...] = (),
) -> Reason | None:  # fmt: skip
    config = replace(ACT, schedulers=schedulers)
    found = pod(change, rebalance=says)
    wait = unmovable(found, expected_node=expected, namespace=namespace, node=on_node, config=config)
    return None if wait is None else wait.reason


@pytest.mark.parametrize(
    ("says", "namespace", "on_node", "expected"),
    [
        ("allow", None, None, None),
        (None, ALLOW, None, None),
        (None, None, None, Reason.NOT_OPTED_IN),
        ("never", ALLOW, None, Reason.OPTED_OUT),
        ("nevr", ALLOW, None, Reason.OPTED_OUT),
        ("allow", NEVER, None, Reason.OPTED_OUT),
        ("allow", ALLOW, NEVER, Reason.OPTED_OUT),
    ],
)
def test_who_may_be_moved_is_said_by_pod_namespace_and_node_and_never_wins(
    says: str | None, namespace: Rebalance | None, on_node: Rebalance | None, expected: Reason | None
) -> None:
    assert why(says=says, namespace=namespace, on_node=on_node) is expected


def _owner(kind: str | None) -> Change:
    owners = [] if kind is None else [{"kind": kind, "name": "x", "uid": "o", "controller": True}]
    return lambda obj: obj["metadata"].update(ownerReferences=owners)


def _spread(when: str) -> Change:
    return lambda obj: obj["spec"].update(topologySpreadConstraints=[{"whenUnsatisfiable": when}])


def _volume(**volume: Any) -> Change:
    return lambda obj: obj["spec"]["volumes"].append({"name": "v", **volume})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_owner("StatefulSet"), None),
        (_owner(None), Reason.BOUND_TO_PLACE),
        (_owner("DaemonSet"), Reason.BOUND_TO_PLACE),
        (_owner("Node"), Reason.BOUND_TO_PLACE),
        (_owner("VirtualMachineInstance"), Reason.BOUND_TO_PLACE),
        (lambda o: o["metadata"]["annotations"].update({MIRROR: "x"}), Reason.BOUND_TO_PLACE),
        (lambda o: o["metadata"].update(namespace="kube-system"), Reason.EXEMPT),
        (lambda o: o["metadata"].update(namespace=ACT.namespace), Reason.EXEMPT),
        (_volume(hostPath={"path": "/"}), Reason.BOUND_TO_PLACE),
        (_volume(persistentVolumeClaim={"claimName": "c"}), Reason.BOUND_TO_PLACE),
        (_volume(csi={"driver": "d"}), Reason.BOUND_TO_PLACE),
        (_volume(configMap={"name": "c"}), None),
        (lambda o: o["status"].update(phase="Succeeded"), Reason.IN_DOUBT),
        (lambda o: o["status"].update(conditions=[]), Reason.IN_DOUBT),
        (lambda o: o["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"), Reason.IN_DOUBT),
        (lambda o: o["spec"].update(nodeName="elsewhere"), Reason.IN_DOUBT),
        (_spread("DoNotSchedule"), Reason.IN_DOUBT),
        (_spread("ScheduleAnyway"), None),
        (lambda o: o["spec"]["containers"][0].update(ports=[{"hostPort": 80}]), Reason.IN_DOUBT),
        (lambda o: o["spec"].update(resourceClaims=[{"name": "gpu"}]), Reason.IN_DOUBT),
    ],
)  # fmt: skip
def test_pods_that_a_move_would_harm_or_that_are_not_understood_stay(
    change: Change, expected: Reason | None
) -> None:
    assert why(change) is expected


def test_what_a_move_loses_must_be_allowed_by_the_pod_itself() -> None:
    for change in (_volume(emptyDir={}), _owner("Job")):
        assert why(change, says=None, namespace=ALLOW) is Reason.BOUND_TO_PLACE
        assert why(change, says="allow") is None


def test_a_scheduler_that_does_not_ask_the_extender_makes_a_move_pointless() -> None:
    assert why(schedulers=("other",)) is Reason.NOT_STEERED
    assert why(schedulers=("other", "default-scheduler")) is None


def _required(**part: Any) -> Change:
    return lambda obj: obj["spec"].update(affinity=part)


def _terms(*terms: dict[str, Any]) -> Change:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return _required(nodeAffinity=required)


def _needs(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        (lambda o: o["spec"].update(nodeSelector={"disk": "ssd"}), True),
        (lambda o: o["spec"].update(nodeSelector={"disk": "hdd"}), False),
        (_terms(_needs("disk", "In", "ssd", "nvme")), True),
        (_terms(_needs("disk", "NotIn", "ssd")), False),
        (_terms(_needs("gpu", "NotIn", "none")), True),
        (_terms(_needs("gpu", "Exists")), False),
        (_terms(_needs("gpu", "DoesNotExist")), True),
        (_terms(_needs("gen", "Gt", "6")), True),
        (_terms(_needs("gen", "Lt", "7")), False),
        (_terms(_needs("disk", "Gt", "6")), False),
        (_terms(_needs("gen", "Newer", "6")), False),
        (_terms(_needs("gpu", "Exists"), _needs("disk", "Exists")), True),
        (_terms(), False),
        (_terms({}), False),
        (_terms({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["free"]}]}), True),
        (_terms({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["full"]}]}), False),
    ],
)
def test_a_node_must_pass_the_pods_selectors_and_affinity(change: Change, fits: bool) -> None:
    assert (obstacle(pod(change), node(), ()) is None) is fits


@pytest.mark.parametrize(
    ("taint", "toleration", "fits"),
    [
        ({"key": "a", "value": "1", "effect": "NoSchedule"}, None, False),
        ({"key": "a", "value": "1", "effect": "PreferNoSchedule"}, None, True),
        ({"key": "a", "value": "1", "effect": "NoExecute"}, {"key": "a", "value": "1"}, True),
        ({"key": "a", "value": "1", "effect": "NoSchedule"}, {"key": "a", "value": "2"}, False),
        ({"key": "a", "value": "1", "effect": "NoSchedule"}, {"key": "a", "operator": "Exists"}, True),
        ({"key": "a", "effect": "NoSchedule"}, {"operator": "Exists"}, True),
        ({"key": "a", "effect": "NoSchedule"}, {"operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "a", "value": "5", "effect": "NoSchedule"}, {"key": "a", "operator": "Lt", "value": "6"}, False),
    ],
)
def test_a_node_with_a_taint_takes_pods_that_tolerate_it(
    taint: dict[str, str], toleration: dict[str, str] | None, fits: bool
) -> None:
    asks = pod(lambda o: o["spec"].update(tolerations=[toleration] if toleration else []))
    assert (obstacle(asks, node(lambda o: o["spec"].update(taints=[taint])), ()) is None) is fits


@pytest.mark.parametrize(
    "change",
    [
        lambda o: o["spec"].update(unschedulable=True),
        lambda o: o["status"].update(conditions=[]),
        lambda o: o["metadata"].update(annotations={"traffic-footprint.io/rebalance": "never"}),
        lambda o: o["status"]["allocatable"].update(cpu="499m"),
        lambda o: o["status"]["allocatable"].pop("memory"),
        lambda o: o["status"]["allocatable"].update(pods="0"),
    ],
)
def test_a_node_that_takes_no_such_pod_is_no_target(change: Change) -> None:
    assert obstacle(pod(), node(change), ()) is not None


def test_what_is_there_already_counts_against_what_is_allocatable() -> None:
    there = [replace(pod(), uid=f"other{number}") for number in range(3)]
    assert obstacle(pod(), node(), there) is None
    assert obstacle(pod(), node(), [*there, replace(pod(), uid="other3")]) == "too little cpu is left"
    ended = [*there, replace(pod(), uid="other3", ended=True)]
    assert obstacle(pod(), node(), ended) is None


def _apart(key: str = "kubernetes.io/hostname", **term: Any) -> Change:
    wanted = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": "web"}}, **term}
    return _required(podAntiAffinity={"requiredDuringSchedulingIgnoredDuringExecution": [wanted]})


def test_anti_affinity_on_a_node_holds_both_ways() -> None:
    plain, picky = replace(pod(), uid="other"), replace(pod(_apart()), uid="other")
    assert "anti-affinity" in str(obstacle(pod(_apart()), node(), [plain]))
    assert "anti-affinity" in str(obstacle(pod(), node(), [picky]))
    assert obstacle(pod(_apart()), node(), [replace(plain, labels={"app": "db"})]) is None
    assert obstacle(pod(_apart()), node(), [replace(plain, ns="elsewhere")]) is None
    assert obstacle(pod(_apart(namespaces=["elsewhere"])), node(), [replace(plain, ns="elsewhere")]) is not None


@pytest.mark.parametrize(
    "change",
    [
        _apart("topology.kubernetes.io/zone"),
        _apart(namespaceSelector={"matchLabels": {"a": "b"}}),
        _apart(namespaceSelector={}),
        _apart(matchLabelKeys=["pod-template-hash"]),
        _required(podAffinity={"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "z"}]}),
    ],
)
def test_affinity_that_is_not_evaluated_here_is_a_doubt(change: Change) -> None:
    assert why(change) is Reason.IN_DOUBT


def test_another_pods_anti_affinity_that_is_not_evaluated_keeps_the_node_free_of_ours() -> None:
    wide = replace(pod(_apart("topology.kubernetes.io/zone")), uid="other")
    assert "not evaluated" in str(obstacle(pod(), node(), [wide]))


def test_requests_are_never_less_than_the_scheduler_counts() -> None:
    asks = {
        "containers": [{"resources": {"requests": {"cpu": "1"}}}, {"resources": {"requests": {"cpu": "500m"}}}],
        "initContainers": [
            {"resources": {"requests": {"cpu": "3"}}},
            {"restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
        ],
        "overhead": {"cpu": "100m"},
    }
    assert requests_of(asks) == {"cpu": Decimal("4.1"), "pods": Decimal(1)}
    asks["initContainers"] = []
    assert requests_of(asks)["cpu"] == Decimal("1.6")
    asks["resources"] = {"requests": {"cpu": "2", "memory": "1Gi"}}
    assert requests_of(asks) == {"cpu": Decimal("2.1"), "memory": Decimal(2**30), "pods": Decimal(1)}


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["metadata", "spec", "status", "affinity", "volumes", "containers", "name", "uid", "operator", "key"]
    ), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(["affinity", "volumes", "containers", "tolerations", "nodeSelector"]), json)
)
def test_a_pod_of_any_shape_is_read_or_refused_with_an_error_that_the_reader_expects(spec: dict[str, Any]) -> None:
    def change(obj: dict[str, Any]) -> None:
        obj["spec"].update(spec)

    try:
        found = pod(change)
    except (ValueError, TypeError, KeyError, AttributeError):
        return
    assert isinstance(found, PodInFull)


def test_a_pod_without_a_name_or_a_time_is_refused() -> None:
    with pytest.raises(KeyError):
        pod_in_full({"metadata": {"namespace": "x"}, "spec": {}})
