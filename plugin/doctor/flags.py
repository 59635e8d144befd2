# SPDX-License-Identifier: Apache-2.0
"""The flags of ``doctor``, apart from what it does: ``--help`` and completion need these alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from footprint.keys import DEFAULT_NAMESPACE
from plugin.connection import PROGRAM, ConnectionSettings
from plugin.output.flags import DocumentOutput


class LookSettings(ConnectionSettings):
    """What every look at a release takes."""

    release_namespace: str = Field(DEFAULT_NAMESPACE, min_length=1)
    """Namespace of the release: of agents, extender and their Leases."""


class DoctorSettings(LookSettings):
    """Looks at a release from outside: agents, heartbeats, links, extender, kube-schedulers, certificates,
    admission policies, the CRD, versions and clocks. It reads only.

    Each finding says what is the case, so what, and the command that mends it. What could not be looked at is a
    finding too, and names the right that is missing.

    Exit status: 0 with nothing but notes, 1 with warnings, 3 with errors. 2 when it could not look at all.
    """

    model_config = SettingsConfigDict(cli_prog_name=f"{PROGRAM} doctor", cli_shortcuts={"output": "o"})

    output: DocumentOutput = ""
    """json, yaml or jsonpath=TEMPLATE. Absent: text for people."""

    severity: Literal["note", "warning", "error"] = "note"
    """Least severity that is shown. The exit status counts all."""
