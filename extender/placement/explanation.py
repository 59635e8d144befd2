# SPDX-License-Identifier: Apache-2.0
"""The fields of an explanation, for the API description. ``placement.explain`` makes it as a plain dict.

A test validates responses against these models; requests never build them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from extender.model.demand import Origin
from extender.model.snapshot import NodeState
from footprint.classes import TrafficClass
from footprint.declared import PlacementMode


class _Said(BaseModel):
    """Every field is described."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ExplainedPod(_Said):
    namespace: str
    name: str
    workload: str = Field(description="Kind/name inside the namespace.")
    exempt: str | None = Field(description="Why placement never touches this pod; null when it may.")
    node: str | None = Field(description="The node it is on; nothing here counts it there.")


class ExplainedDemand(_Said):
    """What the pod will ask of a link."""

    cls: TrafficClass
    tx: float = Field(description="Elephant bit/s sent.")
    rx: float = Field(description="Elephant bit/s received.")
    mice: float = Field(description="Weight of its mice.")
    origin: Origin
    pods: int = Field(description="Measured pods of the workload that this rests on.")
    by_default_route: bool = Field(False, description="It leaves a node by the default route's uplink.")
    text: str


class Spec(_Said):
    cls: TrafficClass | None = Field(alias="class")
    expected_bandwidth: float | None = Field(description="bit/s.")
    placement: PlacementMode | None


class ExplainedRecord(_Said):
    """The TrafficFootprint of the pod's workload."""

    name: str
    spec: Spec
    status: str | None
    malformed: list[str]


class ExplainedLink(_Said):
    """bit/s; measured and expected elephants together, without the pod itself."""

    cap_tx: float
    cap_rx: float
    tx: float
    rx: float
    elephants: int
    mice: float
    u_tx: float
    u_rx: float
    waiting: float
    capacity_by: str = Field(description="Where the capacity comes from; empty: the agent does not say.")
    sure: float = Field(description="Confidence in an estimated capacity, 0-1.")
    full: list[str] = Field(
        description="Directions that are saturated with elephants. What these carry is 0.9 of the capacity there."
    )
    guessed: list[str] = Field(description="Directions whose capacity moves scores and never filters.")


class ExplainedCost(_Said):
    """Service times; docs/explanation/cost-model.md has the terms."""

    waiting: float
    harm: float
    slowdown: float
    room: float
    total: float


class _Node(_Said):
    passes: bool = Field(description="The filter lets it pass.")
    score: Annotated[int, Field(ge=0, le=10)] | None = Field(
        description="Among those that pass; null for the others, since kube-scheduler asks for none."
    )


class KnownNode(_Node):
    """A node with usable data."""

    state: Literal[NodeState.KNOWN]
    load: str
    link: ExplainedLink
    predicted_pods: int
    cost: ExplainedCost | None = Field(description="null when placement has nothing to say about the pod.")
    unsuitable: str | None


class UnknownNode(_Node):
    """Passes, and scores in the middle."""

    state: Annotated[NodeState, Field(json_schema_extra={"not": {"const": NodeState.KNOWN.value}})]
    why: str


class Explanation(_Said):
    """A verdict, with everything that it rests on."""

    pod: ExplainedPod
    problems: list[str] = Field(description="Annotations of the pod that were not understood.")
    demand: ExplainedDemand
    traffic_footprint: ExplainedRecord | None
    placement: PlacementMode
    mice_free_links_scarce: bool
    waited_seconds: Annotated[float, Field(ge=0)]
    committed_to: str | None = Field(
        description="The one of the best nodes whose score is lifted, so that the next pod is told of it."
    )
    nodes: dict[str, KnownNode | UnknownNode]
