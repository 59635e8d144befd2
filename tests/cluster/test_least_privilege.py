# SPDX-License-Identifier: Apache-2.0
"""What the two service accounts can do to a real API server, with tokens as pods have them: what they need.

Two walls are tried, each on its own: RBAC, and the admission policy behind it, which holds even when somebody
grants the agent's account everything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from kubernetes.client import ApiClient

from extender.cluster.relaxed_pods import REASON
from extender.model.profile import NOTHING_YET
from extender.model.trafficfootprint import API_VERSION, PLURAL, new_object, status_of
from footprint.classes import TrafficClass
from footprint.cluster.client import MERGE_PATCH, ApiError, request
from footprint.keys import NODE_ELEPHANT_SHARE, NODE_FOOTPRINT, NODE_SUMMARY, POD_CLASS, POD_PLACEMENT, lease_name
from lab import programs
from lab.controlplane import readiness as cluster
from lab.lab import Lab, LabConfig
from lab.network.addresses import OUTSIDE_V4
from lab.traffic import argv
from nodeagent.publishing.decide import merge_patch
from nodeagent.publishing.heartbeat import lease_spec
from nodeagent.publishing.node_events import LITTLE_SEEN, NOT_UNDERSTOOD, UNKNOWN
from tests.cluster.conftest import logs_of, running
from tests.cluster.support.attempts import (
    EVENT_CHANGES,
    EVENTS_DEFAULT,
    EXTENDER_REFUSED,
    FOOTPRINTS,
    LEASE_CHANGES,
    LEASES_HERE,
    NODE,
    NODE_CHANGES,
    OTHER,
    OWN,
    OWN_LEASE,
    READS,
    SECRETS,
    WRITES,
    annotate,
    leases_created,
    own_event,
    own_footprint,
    own_lease,
    own_node_event,
    published,
)
from tests.cluster.support.identities import (
    CORE,
    HERE,
    RBAC,
    Try,
    bound_to_a_node,
    bound_to_a_pod,
    client,
    granted,
    matches,
    refused,
    settle,
    used,
)
from tests.cluster.support.workloads import created, eventually, get, pod

pytestmark = pytest.mark.cluster

AGENT, EXTENDER = programs.AGENT_ACCOUNT, programs.EXTENDER_ACCOUNT
POLICY: Final = "ValidatingAdmissionPolicy 'traffic-footprint-nodeagent'"
POLICY_PATH: Final = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{AGENT}"


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A recorded cluster with the extender and, on node2 alone, an agent."""
    module = request.module.__name__.rpartition(".")[2]
    settings = LabConfig(
        nodes=2,
        agents=False,
        agent_args=("--lease-renew", "2"),
        audit=True,
        keep_dir=logs_of(module),
        extender_args=("--learn-interval", "1", "--learn-retention", "1", "--relax-after", "0"),
    )
    for started in running(settings):
        started.start_agent(OTHER)
        yield started


@pytest.fixture(scope="module")
def agent(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    """What the agent of node1 is: the token of one of its pods. The policy is in force."""
    with bound_to_a_pod(lab, AGENT, OWN) as token:
        api = client(lab, token, tmp_path_factory.mktemp("agent"))
        settle(NODE_CHANGES[0], api, refused=True)
        request(lab.api, "PATCH", NODE, body=annotate(kept="yes"), content_type=MERGE_PATCH)
        yield api


@pytest.fixture(scope="module")
def unbound(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> ApiClient:
    """A token of the agent's account that names no node."""
    return client(lab, cluster.token(lab.api, HERE, AGENT), tmp_path_factory.mktemp("unbound"))


@pytest.fixture(scope="module")
def extender(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> ApiClient:
    return client(lab, cluster.token(lab.api, HERE, EXTENDER), tmp_path_factory.mktemp("extender"))


def others_parts(lab: Lab) -> list[dict[str, Any]]:
    """The Nodes without what agents, kubelets' heartbeats or the API server itself write."""
    return [_others_parts(node) for node in get(lab, "nodes")["items"]]


def _others_parts(node: dict[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in node["metadata"].items() if k not in ("managedFields", "resourceVersion")}
    ours = (NODE_FOOTPRINT, NODE_SUMMARY, NODE_ELEPHANT_SHARE)
    annotations = {k: v for k, v in metadata.get("annotations", {}).items() if k not in ours}
    return {"metadata": {**metadata, "annotations": annotations}, "spec": node["spec"]}


def lease_names(lab: Lab) -> set[str]:
    return {lease["metadata"]["name"] for lease in get(lab, "leases", "-n", HERE)["items"]}


def refused_by_policy(ask: Try, api: ApiClient) -> None:
    why = ask.refusal(api)
    assert POLICY in why, f"{ask.what}: {why}"
    assert matches(ask.because, why), f"{ask.what}: {why}"


# What passes.


def test_a_pods_token_names_the_node_that_the_pod_runs_on(lab: Lab, agent: ApiClient) -> None:
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    me = request(agent, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=asked)
    user = me["status"]["userInfo"]
    assert user["username"] == f"system:serviceaccount:{HERE}:{AGENT}"
    assert user["extra"]["authentication.kubernetes.io/node-name"] == [OWN]
    uid = get(lab, "node", OWN)["metadata"]["uid"]
    assert user["extra"]["authentication.kubernetes.io/node-uid"] == [uid]


def test_the_agents_own_writes_pass(lab: Lab, agent: ApiClient) -> None:
    full = {NODE_FOOTPRINT: "x" * 65536, NODE_SUMMARY: "y" * 1024, NODE_ELEPHANT_SHARE: "100"}
    Try("annotations", "PATCH", NODE, published()).of(agent)
    Try("annotations of full size", "PATCH", NODE, merge_patch(full)).of(agent)
    Try("annotations removed", "PATCH", NODE, annotate(**dict.fromkeys(full))).of(agent)
    Try("Lease created", "POST", LEASES_HERE, own_lease(lab)).of(agent)
    Try("Lease renewed", "PATCH", OWN_LEASE, {"spec": lease_spec(OWN, 60.0, datetime.now(UTC))}).of(agent)
    Try("Event", "POST", EVENTS_DEFAULT, own_event()).of(agent)
    for reason in (NOT_UNDERSTOOD, UNKNOWN, LITTLE_SEEN):
        Try("Event on its Node", "POST", EVENTS_DEFAULT, own_node_event(reason=reason)).of(agent)


def test_a_node_without_any_spec_and_with_a_long_name_has_an_agent_too(
    lab: Lab, agent: ApiClient, tmp_path: Path
) -> None:
    name = ".".join(["n" * 50] * 4)
    path = f"{CORE}/nodes/{name}"
    request(lab.api, "POST", f"{CORE}/nodes", body={"metadata": {"name": name}, "spec": {}})
    try:
        api = client(lab, bound_to_a_node(lab, AGENT, name), tmp_path)
        Try("annotations", "PATCH", path, published()).of(api)
        Try("Lease", "POST", LEASES_HERE, own_lease(lab, node=name)).of(api)
        Try("Event", "POST", EVENTS_DEFAULT, own_event(node=name, message="long")).of(api)
        Try("Event on its Node", "POST", EVENTS_DEFAULT, own_node_event(node=name)).of(api)
        refused_by_policy(Try("node1", "PATCH", NODE, published(), f"agent of node {name} may not write"), api)
        refused_by_policy(Try("the new one", "PATCH", path, published(), f"may not write Node {name}"), agent)
    finally:
        request(lab.api, "DELETE", path)


# What the policy refuses although RBAC allows it.


@pytest.mark.parametrize("ask", NODE_CHANGES, ids=lambda ask: ask.what)
def test_an_agent_changes_nothing_but_its_three_annotations(lab: Lab, agent: ApiClient, ask: Try) -> None:
    before = others_parts(lab)
    refused_by_policy(ask, agent)
    assert others_parts(lab) == before


def test_an_agent_writes_no_lease_but_its_own(lab: Lab, agent: ApiClient) -> None:
    eventually("node2's agent has its Lease", lambda: lease_name(OTHER) in lease_names(lab))
    for ask in leases_created(lab):
        refused_by_policy(ask, agent)
    if lease_name(OWN) not in lease_names(lab):
        Try("its own", "POST", LEASES_HERE, own_lease(lab)).of(agent)
    for ask in LEASE_CHANGES:
        refused_by_policy(ask, agent)


@pytest.mark.parametrize("changes", EVENT_CHANGES, ids=str)
def test_an_agent_reports_no_other_kind_of_event(agent: ApiClient, changes: dict[str, Any]) -> None:
    refused_by_policy(Try("Event", "POST", EVENTS_DEFAULT, own_event(**changes), "the node agent's Events"), agent)


@pytest.mark.usefixtures("agent")
def test_a_token_that_names_no_node_writes_nothing(lab: Lab, unbound: ApiClient) -> None:
    why = r"the token names no node.*set the variable unboundTokens of this policy to allow"
    for ask in (
        Try("annotations", "PATCH", NODE, published(), why),
        Try("Lease", "POST", LEASES_HERE, own_lease(lab), why),
        Try("Event", "POST", EVENTS_DEFAULT, own_event(message="unbound"), why),
    ):
        refused_by_policy(ask, unbound)


@pytest.mark.usefixtures("agent")
def test_tokens_without_a_node_can_be_allowed_and_are_held_to_everything_else(
    lab: Lab, unbound: ApiClient
) -> None:
    written = Try("annotations", "PATCH", NODE, published(source="x"))
    with unbound_tokens_allowed(lab):
        settle(written, unbound, refused=False)
        Try("another Node", "PATCH", f"{CORE}/nodes/{OTHER}", published()).of(unbound)
        lease = {"metadata": {"name": lease_name("node9")}, "spec": {"holderIdentity": "node9"}}
        Try("any agent's Lease", "POST", LEASES_HERE, lease).of(unbound)
        Try("Event", "POST", EVENTS_DEFAULT, own_event(message="allowed")).of(unbound)
        for ask in (
            Try("label", "PATCH", NODE, {"metadata": {"labels": {"a": "b"}}}, "may not change labels"),
            Try("annotation", "PATCH", NODE, annotate(a="b"), "may not change annotation a of"),
            Try("Lease", "POST", LEASES_HERE, own_lease(lab, name="kube-scheduler"), "may not write Lease"),
            Try("holder", "POST", LEASES_HERE, own_lease(lab, name=lease_name("node8")), "holderIdentity"),
        ):
            refused_by_policy(ask, unbound)
    settle(written, unbound, refused=True)


@contextmanager
def unbound_tokens_allowed(lab: Lab) -> Iterator[None]:
    def put(expression: str) -> None:
        policy = request(lab.api, "GET", POLICY_PATH)
        variable = next(v for v in policy["spec"]["variables"] if v["name"] == "unboundTokens")
        variable["expression"] = expression
        request(lab.api, "PUT", POLICY_PATH, body=policy)

    put("'allow'")
    try:
        yield
    finally:
        put("'refuse'")


# What RBAC refuses, and the policy again when RBAC is opened wide.


@pytest.mark.parametrize("ask", [*READS, *WRITES], ids=lambda ask: ask.what)
def test_rbac_refuses_the_agent_everything_that_it_does_not_use(agent: ApiClient, ask: Try) -> None:
    why = ask.refusal(agent)
    assert matches(r"cannot \w+ resource", why), why
    assert matches(ask.because, why), why


@contextmanager
def administrator(lab: Lab, account: str, api: ApiClient) -> Iterator[None]:
    """While it lasts, somebody has made the account, whose token ``api`` has, an administrator."""
    bindings = f"{RBAC}/clusterrolebindings"
    body = {
        "metadata": {"name": "mistake"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": HERE}],
    }
    request(lab.api, "POST", bindings, body=body)
    try:
        settle(SECRETS, api, refused=False)
        yield
    finally:
        request(lab.api, "DELETE", f"{bindings}/mistake")
        settle(SECRETS, api, refused=True)


@pytest.fixture
def almighty(lab: Lab, agent: ApiClient) -> Iterator[ApiClient]:
    """The agent's token, while somebody has made its account an administrator."""
    with administrator(lab, AGENT, agent):
        yield agent


def test_the_policy_refuses_every_write_although_somebody_granted_them_all(lab: Lab, almighty: ApiClient) -> None:
    before = others_parts(lab)
    for ask in WRITES:
        refused_by_policy(ask, almighty)
    assert others_parts(lab) == before


@pytest.mark.usefixtures("agent")
def test_others_are_not_held_to_the_agents_rules(lab: Lab, extender: ApiClient) -> None:
    lab.kubectl("label", "node", OTHER, "a.b/c=x")
    lab.kubectl("label", "node", OTHER, "a.b/c-")
    assert POLICY not in Try("annotations", "PATCH", NODE, published()).refusal(extender)


# The extender reads.


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("ask", EXTENDER_REFUSED, ids=lambda ask: ask.what)
def test_rbac_refuses_the_extender_everything_that_it_does_not_use(extender: ApiClient, ask: Try) -> None:
    why = ask.refusal(extender)
    assert matches(ask.because, why), why


def test_the_extender_creates_its_own_objects_and_deletes_none_in_which_somebody_stated_something(
    lab: Lab, extender: ApiClient
) -> None:
    plain = own_footprint()
    path = f"{FOOTPRINTS}/{plain['metadata']['name']}"

    def write(**changes: Any) -> None:
        request(lab.api, "PATCH", path, body=changes, content_type=MERGE_PATCH)

    request(extender, "POST", FOOTPRINTS, body=plain)
    deleted(extender, path)
    request(lab.api, "POST", FOOTPRINTS, body=own_footprint(spec={"class": "mouse"}))
    try:
        seen = {"status": status_of(replace(NOTHING_YET, cls=TrafficClass.QUIET, samples=2), time.time())}
        request(extender, "PATCH", f"{path}/status", body=seen, content_type=MERGE_PATCH)
        assert "deletes none in which somebody did (class)" in Try("stated", "DELETE", path).refusal(extender)
        write(spec={"class": None}, metadata={"labels": dict.fromkeys(plain["metadata"]["labels"])})
        assert "labelled as its own" in Try("somebody else's", "DELETE", path).refusal(extender)
        with administrator(lab, EXTENDER, extender):
            change = Try("a spec", "PATCH", path, {"spec": {"class": "elephant"}})
            assert "status, not its spec" in change.refusal(extender)
        write(metadata={"labels": plain["metadata"]["labels"]})
        deleted(extender, path)
    finally:
        deleted(lab.api, path)


def deleted(api: ApiClient, path: str) -> None:
    """By ``api``, unless the lab's own extender was faster: here it forgets after a second."""
    try:
        request(api, "DELETE", path)
    except ApiError as error:
        if error.status != 404:
            raise


# Every verb that is granted is used, by the real programs.


def test_every_verb_granted_to_the_agent_is_used_by_it(lab: Lab) -> None:
    with created(lab, pod("odd", ["sleep", "60"], node=OTHER, annotations={POD_CLASS: "whale"})):
        assert_used(lab, AGENT, "traffic-footprint-nodeagent")
    assert refused(lab, AGENT, "traffic-footprint-nodeagent") == [], "it asks for nothing else either"


def test_every_verb_granted_to_the_extender_is_used_by_it(lab: Lab) -> None:
    """One workload is learned, one that nobody has seen for a day is forgotten, and a strict pod is relaxed."""
    forgotten = new_object(("default", "Job/forgotten"))
    path = f"/apis/{API_VERSION}/namespaces/default/{PLURAL}"
    status = {
        "status": status_of(replace(NOTHING_YET, cls=TrafficClass.QUIET, samples=2), time.time() - 2 * 86400)
    }
    request(lab.api, "POST", path, body=forgotten)
    written = f"{path}/{forgotten['metadata']['name']}/status"
    request(lab.api, "PATCH", written, body=status, content_type=MERGE_PATCH)
    lab.spawn_in("outside", argv("sink", "--port", "5001"), name="sink")
    sends = argv("elephant", f"{OUTSIDE_V4}:5001", "--bytes", "2000000000", "--rate", "40M")
    strict = pod("strict", ["sleep", "60"], annotations={POD_PLACEMENT: "strict"})
    with created(lab, pod("teacher", sends, node=OTHER), strict):
        assert_used(lab, EXTENDER, "traffic-footprint-extender")
        selector = f"--field-selector=involvedObject.name=strict,reason={REASON}"
        [told] = eventually("people are told", lambda: get(lab, "events", selector)["items"])
        assert "is placed as with prefer from now on" in told["message"]


def assert_used(lab: Lab, account: str, program: str) -> None:
    """The roles' verbs are those that ``program`` was seen to use, no more and no fewer."""
    allowed = granted(lab, account)
    assert allowed

    def unused() -> list[tuple[str, str, str]]:
        return sorted(allowed - used(lab, account, program))

    try:
        eventually("all are used", lambda: not unused(), 120)
    except AssertionError as error:
        raise AssertionError(f"granted to {account} and not used by {program}: {unused()}") from error
    assert used(lab, account, program) == allowed


def test_the_policy_speaks_the_contracts_names(lab: Lab) -> None:
    policy = request(lab.api, "GET", POLICY_PATH)
    variables = {v["name"]: v["expression"] for v in policy["spec"]["variables"]}
    ours = json.loads(variables["annotations"].replace("'", '"'))
    assert set(ours) == {NODE_FOOTPRINT, NODE_SUMMARY, NODE_ELEPHANT_SHARE}
    assert variables["leasePrefix"] == f"'{lease_name('')}'"
    assert policy["spec"]["failurePolicy"] == "Fail"
