# SPDX-License-Identifier: Apache-2.0
"""``kubectl-footprint``, which kubectl runs as ``kubectl footprint``.

Enters: the command line. Leaves: text on standard output, and the exit status: 0, or 2 with one line that names
the remedy. Guarantees: ``--help`` imports no command, so it answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

from footprint.commands import Action, Command, Program
from footprint.service import fail

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

Model = TypeVar("Model", bound="BaseSettings")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return _PROGRAM.main(arguments)


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


def _workloads() -> Action:
    from plugin.workloads.flags import WorkloadsSettings  # noqa: PLC0415

    return _action(WorkloadsSettings, "plugin.workloads.commands", "workloads")


def _state() -> Action:
    from plugin.workloads.flags import StateSettings  # noqa: PLC0415

    return _action(StateSettings, "plugin.workloads.commands", "state")


def _forget() -> Action:
    from plugin.workloads.flags import ForgetSettings  # noqa: PLC0415

    return _action(ForgetSettings, "plugin.workloads.commands", "forget")


def _explain() -> Action:
    from plugin.explain.flags import ExplainSettings  # noqa: PLC0415

    return _action(ExplainSettings, "plugin.explain.command")


def _shadow() -> Action:
    from plugin.shadow.flags import ShadowSettings  # noqa: PLC0415

    return _action(ShadowSettings, "plugin.shadow.command")


_PROGRAM: Final = Program(
    "kubectl-footprint",
    "Show the traffic footprints that nodes published, and what the extender makes of them. Only "
    "`workloads state` and `workloads forget` write.",
    [
        Command("nodes", "each node's link, pods, source and health", _nodes),
        Command("pods", "each measured pod: its class, rates and flows", _pods),
        Command("workloads", "what is known of each workload, how sure, since when", _workloads),
        Command("workloads state", "say what a workload does, over what was learned", _state),
        Command("workloads forget", "forget what was learned of workloads", _forget),
        Command("explain", "which nodes suit a pod, and why", _explain),
        Command("shadow", "what an extender in shadow mode would have changed", _shadow),
    ],
)
