# SPDX-License-Identifier: Apache-2.0
"""The flags of ``report``, apart from what it does: ``--help`` and completion need these alone."""

from __future__ import annotations

from pydantic_settings import CliPositionalArg, CliToggleFlag, SettingsConfigDict

from plugin.connection import PROGRAM
from plugin.doctor.flags import LookSettings


class ReportSettings(LookSettings):
    """Writes one HTML file of the state: what the doctor finds, versions, nodes, measured pods and workloads.

    The file needs no other one and runs no script. Give it to a colleague, attach it to a ticket, or print it. It
    holds names of nodes, namespaces, pods and workloads. With --anonymise it holds aliases instead.
    """

    model_config = SettingsConfigDict(cli_prog_name=f"{PROGRAM} report")

    file: CliPositionalArg[str] = "traffic-footprint-report.html"
    """File to write, which may exist; - for standard output."""

    anonymise: CliToggleFlag[bool] = False
    """Replace names of nodes, namespaces, pods, workloads, objects and addresses by aliases, the same ones
    everywhere. What the API server itself said is left out."""
