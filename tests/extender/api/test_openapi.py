# SPDX-License-Identifier: Apache-2.0
"""The application keeps what its OpenAPI description says, whatever is sent: no server error, no other answers.

Cases come from the description alone (schemathesis), the same ones every time. The state is a saved one.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from extender.api.routes import create_app
from extender.api.service import Service
from extender.cluster.offline import SavedCluster, StateFeed, state_of
from extender.cluster.state import ClusterState
from extender.placement.policy import Policy
from tests.extender.cluster.test_offline import saved

pytestmark = pytest.mark.filterwarnings("default")  # what a test tool's own libraries announce is not our fault

EXAMPLES = 50
"""For each operation and mode: some seconds in all."""

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def described(policy: Policy) -> dict[str, APIOperation[Any, Any, Any, Any]]:
    """The operations of an application, by method and path."""
    schema = schemathesis.openapi.from_dict(
        (app := create_app(Service(saved_state(), StateFeed(), policy))).openapi()
    )
    schema.app = app
    found = (result.ok() for result in schema.get_all_operations() if isinstance(result, Ok))
    return {operation.label: operation for operation in found}


def saved_state() -> ClusterState:
    return state_of(SavedCluster(saved()))


operations = {**described(Policy()), "GET /shadow": described(Policy(shadow=True))["GET /shadow"]}
CASES = [(label, GenerationMode.POSITIVE) for label in operations] + [
    (label, GenerationMode.NEGATIVE)
    for label in ("POST /filter", "POST /prioritize", "POST /explain", "GET /explain")
]
"""Where nothing can be sent, nothing wrong can be."""

THERE = {"GET /explain": {"namespace": "default", "pod": "bulk-x"}}
"""What no description can tell: a pod that exists."""


def test_every_path_is_described() -> None:
    assert set(operations) == {
        "POST /filter", "POST /prioritize", "POST /explain", "GET /explain", "GET /shadow", "GET /healthz",
        "GET /readyz", "GET /metrics",
    }  # fmt: skip


def is_decided(answer: Response) -> bool:
    """More than a refusal: nodes that pass, scores, an explanation."""
    told = answer.json() if answer.headers["content-type"] == ["application/json"] else True
    return bool(answer.status_code == 200 and told and not (isinstance(told, dict) and told.get("Error")))


def test_every_answer_in_json_is_described_by_a_model() -> None:
    for label, operation in operations.items():
        answer = operation.definition.raw["responses"]["200"]["content"]
        assert "application/json" not in answer or answer["application/json"]["schema"], label


@pytest.mark.parametrize(("label", "mode"), CASES)
def test_answers_are_as_described(label: str, mode: GenerationMode) -> None:
    understood = 0

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.data())
    def search(data: st.DataObject) -> None:
        nonlocal understood
        case = data.draw(operations[label].as_strategy(generation_mode=mode))
        if mode is GenerationMode.POSITIVE and label in THERE and data.draw(st.booleans()):
            case.query = THERE[label]
        answer = case.call()
        case.validate_response(answer, checks=CHECKS)
        understood += is_decided(answer)

    search()
    assert understood or mode is GenerationMode.NEGATIVE, "every case was refused"
