"""The application keeps what its OpenAPI description says, whatever is sent: no server error, no other answers.

Cases come from the description alone (schemathesis), the same ones every time. The state is a saved one.
"""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from extender.app import create_app
from extender.offline import SavedCluster, StateFeed, state_of
from extender.settings import Policy
from tests.extender.test_offline import saved

pytestmark = pytest.mark.filterwarnings("default")  # what a test tool's own libraries announce is not our fault

EXAMPLES = 25
"""For each operation and mode: some seconds in all."""

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

app = create_app(state_of(SavedCluster(saved())), StateFeed(), Policy(shadow=True))
schema = schemathesis.openapi.from_dict(app.openapi())
schema.app = app
operations = {result.ok().label: result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)}
CASES = [(label, GenerationMode.POSITIVE) for label in operations] + [
    (label, GenerationMode.NEGATIVE)
    for label in ("POST /filter", "POST /prioritize", "POST /explain", "GET /explain")
]
"""Where nothing can be sent, nothing wrong can be."""


def test_every_path_is_described() -> None:
    assert set(operations) == {
        "POST /filter", "POST /prioritize", "POST /explain", "GET /explain", "GET /shadow", "GET /healthz",
        "GET /readyz", "GET /metrics",
    }  # fmt: skip


@pytest.mark.parametrize(("label", "mode"), CASES)
def test_answers_are_as_described(label: str, mode: GenerationMode) -> None:
    answered = 0

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.data())
    def search(data: st.DataObject) -> None:
        nonlocal answered
        case = data.draw(operations[label].as_strategy(generation_mode=mode))
        case.validate_response(case.call(), checks=CHECKS)
        answered += 1

    search()
    assert answered
