# SPDX-License-Identifier: Apache-2.0
"""The flags of ``workloads``, ``workloads state`` and ``workloads forget``, apart from what they do."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import CliPositionalArg, CliToggleFlag, SettingsConfigDict

from footprint.units import parse_bandwidth
from plugin.connection import PROGRAM, NamespaceSettings
from plugin.output.flags import SHORT, DocumentOutput, Output, OutputSettings, form_of

NOTHING: Final = "none"
"""Takes back what was stated."""


class WorkloadsSettings(OutputSettings, NamespaceSettings):
    """Shows what is known of each workload, how sure it is, since when, and from how many samples.

    CLASS is what placement goes by. FROM says whether people stated it or it was learned. TX and RX are what one
    pod typically wants of its node's link. CONFIDENCE grows with SAMPLES. SINCE is the age of the object.

    A workload is named as Kind/name, such as Deployment/web, or by its TrafficFootprint's name.
    """

    model_config = SettingsConfigDict(cli_prog_name=f"{PROGRAM} workloads", cli_shortcuts=SHORT)

    name: CliPositionalArg[list[str]] = Field([])
    """Only these. Absent: all. `workloads state` and `workloads forget` are commands of their own."""

    selector: str = ""
    """Only objects with these labels, as kubectl's -l."""

    field_selector: str = ""
    """Only objects whose fields match, as kubectl's: metadata.name=NAME."""

    sort_by: str = ""
    """A column's name, such as tx or confidence (greatest first), or a JSONPath such as .metadata.name."""

    watch: CliToggleFlag[bool] = False
    """Go on, and print what changes, until Ctrl-C."""

    class_: Literal["elephant", "mouse", "mixed", "quiet"] | None = Field(None, alias="class")
    """Only workloads of this class."""

    @property
    def selectors(self) -> dict[str, str]:
        """As the API takes them."""
        given = {"labelSelector": self.selector, "fieldSelector": self.field_selector}
        return {key: value for key, value in given.items() if value}


class _Writing(NamespaceSettings):
    """What both writing commands take. They write to one namespace."""

    all_namespaces: CliToggleFlag[bool] = Field(False, exclude=True)
    """Not for commands that write."""

    dry_run: Literal["none", "client", "server"] = "none"
    """client: show what would be sent. server: have the API server check it too. Neither keeps anything."""

    @field_validator("all_namespaces")
    @classmethod
    def _one_namespace(cls, value: bool) -> bool:
        if value:
            raise ValueError("this command writes in one namespace; name it with -n")
        return value


class AdviseSettings(NamespaceSettings):
    """Prints the bandwidth limits that fit what was learned of a workload, as a patch. Changes nothing.

    They are the annotations kubernetes.io/egress-bandwidth and kubernetes.io/ingress-bandwidth of its pods.
    A direction in which it has no elephants gets no limit.
    """

    model_config = SettingsConfigDict(cli_prog_name=f"{PROGRAM} advise", cli_shortcuts=SHORT)

    name: CliPositionalArg[str]
    """The workload as Kind/name, such as Deployment/web, or its TrafficFootprint's name."""

    all_namespaces: CliToggleFlag[bool] = Field(False, exclude=True)
    """Not for this command: a workload is in one namespace."""

    headroom: float = Field(1.25, ge=1, le=100, allow_inf_nan=False)
    """The limit is this many times the learned peak, which is a mean of seconds: bursts are higher."""

    output: DocumentOutput = ""
    """json, yaml or jsonpath=TEMPLATE of the patch alone. Absent: the command that applies it, with reasons."""

    @field_validator("all_namespaces")
    @classmethod
    def _one_namespace(cls, value: bool) -> bool:
        if value:
            raise ValueError("a workload is in one namespace; name it with -n")
        return value


class ForgetSettings(_Writing):
    """Forgets what was learned of workloads: deletes their TrafficFootprints. Learning starts again.

    What people stated of a workload stands in the same object. Without --with-stated such an object stays.
    """

    model_config = SettingsConfigDict(cli_prog_name=f"{PROGRAM} workloads forget", cli_shortcuts=SHORT)

    name: CliPositionalArg[list[str]]
    """Workloads as Kind/name, or TrafficFootprints' names."""

    with_stated: CliToggleFlag[bool] = False
    """Also where people stated something, which goes as well."""

    output: Output = ""
    """name. Absent: a sentence for each."""

    @model_validator(mode="after")
    def _names_or_sentences(self) -> Self:
        if not self.name:
            raise ValueError(
                "forget needs the name of a workload: kubectl footprint workloads forget Deployment/web"
            )
        if self.output not in ("", "name"):
            raise ValueError("--output of forget is name, or none for sentences")
        return self


class StateSettings(_Writing):
    """States what a workload does, which wins over what was learned. A pod's own annotations win over both.

    Writes `spec` of its TrafficFootprint, and makes that object where there is none yet. What is not given stays
    as it was; `none` takes a statement back.
    """

    model_config = SettingsConfigDict(cli_prog_name=f"{PROGRAM} workloads state", cli_shortcuts=SHORT)

    name: CliPositionalArg[str]
    """The workload as Kind/name, such as Deployment/web, or its TrafficFootprint's name."""

    class_: Literal["elephant", "mouse", "none"] | None = Field(None, alias="class")
    """elephant: bulk transfers. mouse: small flows that suffer from waiting behind them."""

    bandwidth: str | None = None
    """bit/s of one pod in its busier direction, such as 400M or 1.5G."""

    placement: Literal["score", "prefer", "strict", "ignore", "none"] | None = None
    """How strongly placement may act on its pods."""

    output: Output = ""
    """json, yaml, name or jsonpath=TEMPLATE of the object. Absent: a sentence."""

    @field_validator("bandwidth")
    @classmethod
    def _bandwidth(cls, value: str | None) -> str | None:
        if value is not None and value != NOTHING:
            parse_bandwidth(value)
        return value

    @property
    def spec(self) -> dict[str, Any]:
        """The part of ``spec`` that is given; None takes a field out."""
        given = {"class": self.class_, "expectedBandwidth": self.bandwidth, "placement": self.placement}
        return {key: None if value == NOTHING else value for key, value in given.items() if value is not None}

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.spec:
            raise ValueError("state needs something to state: --class, --bandwidth or --placement")
        if form_of(self.output).name == "wide":
            raise ValueError("--output of state is json, yaml, name or jsonpath=TEMPLATE")
        return self
