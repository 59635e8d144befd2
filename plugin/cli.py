# SPDX-License-Identifier: Apache-2.0
"""``kubectl-footprint``, which kubectl runs as ``kubectl footprint``.

Enters: the command line. Leaves: text on standard output, and the exit status: 0, or 2 with one line that names
the remedy. Guarantees: ``--help`` imports no command, so it answers at once.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

from footprint.commands import Action, Command, Parser, Program
from footprint.service import fail

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

Model = TypeVar("Model", bound="BaseSettings")


SCRIPT: Final = """#!/bin/sh
# Put this as kubectl_complete-footprint on your PATH, executable: kubectl asks it what completes a command line.
exec kubectl footprint __complete "$@"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. ``__complete`` is for ``kubectl_complete-footprint`` where it is a script."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["__complete"]:
        return complete(given[1:])
    return PROGRAM.main(given)


def complete(words: Sequence[str] | None = None) -> int:
    """Entry point of ``kubectl_complete-footprint``."""
    from plugin import completion  # noqa: PLC0415

    return completion.main(PROGRAM, words)


class _Script:
    """Prints the script by which kubectl completes."""

    def fill(self, parser: Parser) -> None:
        parser.description = (
            "Prints the script kubectl_complete-footprint. By it kubectl's own completion for bash, zsh and fish "
            "completes this plugin's commands, flags and names, from kubectl 1.26 on. pip, pipx and uv install it."
        )

    def run(self, parsed: Namespace, parser: Parser) -> int:  # noqa: ARG002
        print(SCRIPT, end="")
        return 0


def _action(model: type[Model], module: str, name: str = "run") -> Action:
    """A command: flags as ``model`` says, then the function ``name`` of ``module``, which is imported to run it.

    Expected errors end the program with one line.
    """
    from footprint.settings import SettingsAction  # noqa: PLC0415

    return SettingsAction(model, partial(_guarded, module, name))


def _guarded(module: str, name: str, settings: Any) -> int:
    from footprint.cluster.client import ApiError, ClusterConfigError  # noqa: PLC0415
    from plugin.cluster import RefusedError  # noqa: PLC0415

    run: Callable[[Any], int] = getattr(import_module(module), name)
    try:
        return run(settings)
    except ClusterConfigError as error:
        fail(str(error))
    except RefusedError as error:
        fail(str(error), error.remedy)
    except ApiError as error:
        fail(f"the API server did not answer as expected: {error}", "check access with `kubectl get nodes`")


def _nodes() -> Action:
    from plugin.listing.flags import NodesSettings  # noqa: PLC0415

    return _action(NodesSettings, "plugin.listing.commands", "nodes")


def _pods() -> Action:
    from plugin.listing.flags import PodsSettings  # noqa: PLC0415

    return _action(PodsSettings, "plugin.listing.commands", "pods")


def _top() -> Action:
    from plugin.top.flags import TopSettings  # noqa: PLC0415

    return _action(TopSettings, "plugin.top.command")


def _workloads() -> Action:
    from plugin.workloads.flags import WorkloadsSettings  # noqa: PLC0415

    return _action(WorkloadsSettings, "plugin.workloads.commands", "workloads")


def _state() -> Action:
    from plugin.workloads.flags import StateSettings  # noqa: PLC0415

    return _action(StateSettings, "plugin.workloads.commands", "state")


def _forget() -> Action:
    from plugin.workloads.flags import ForgetSettings  # noqa: PLC0415

    return _action(ForgetSettings, "plugin.workloads.commands", "forget")


def _advise() -> Action:
    from plugin.workloads.flags import AdviseSettings  # noqa: PLC0415

    return _action(AdviseSettings, "plugin.workloads.advise", "advise")


def _explain() -> Action:
    from plugin.explain.flags import ExplainSettings  # noqa: PLC0415

    return _action(ExplainSettings, "plugin.explain.command")


def _shadow() -> Action:
    from plugin.shadow.flags import ShadowSettings  # noqa: PLC0415

    return _action(ShadowSettings, "plugin.shadow.command")


def _rebalance() -> Action:
    from plugin.rebalance.flags import RebalanceSettings  # noqa: PLC0415

    return _action(RebalanceSettings, "plugin.rebalance.command")


def _doctor() -> Action:
    from plugin.doctor.flags import DoctorSettings  # noqa: PLC0415

    return _action(DoctorSettings, "plugin.doctor.command")


def _report() -> Action:
    from plugin.report.flags import ReportSettings  # noqa: PLC0415

    return _action(ReportSettings, "plugin.report.command")


PROGRAM: Final = Program(
    "kubectl-footprint",
    "Show the traffic footprints that nodes published, and what the extender makes of them. Only "
    "`workloads state` and `workloads forget` write.",
    [
        Command("nodes", "each node's link, pods, source and health", _nodes),
        Command("pods", "each measured pod: its class, rates and flows", _pods),
        Command("top", "the cluster's pods or nodes live, elephants first", _top),
        Command("workloads", "what is known of each workload, how sure, since when", _workloads),
        Command("workloads state", "say what a workload does, over what was learned", _state),
        Command("workloads forget", "forget what was learned of workloads", _forget),
        Command("advise", "the bandwidth limits that fit a workload, as a patch", _advise),
        Command("explain", "which nodes suit a pod, and why", _explain),
        Command("doctor", "what is wrong with the release, and the commands that mend it", _doctor),
        Command("report", "one HTML file of the state, for a ticket or a colleague", _report),
        Command("rebalance", "which pods stand wrong, and what moving them would gain", _rebalance),
        Command("shadow", "what an extender in shadow mode would have changed", _shadow),
        Command("completion", "the script by which kubectl completes this plugin's command lines", _Script),
    ],
)
