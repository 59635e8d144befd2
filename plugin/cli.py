# SPDX-License-Identifier: Apache-2.0
"""``kubectl-footprint``, which kubectl runs as ``kubectl footprint``.

Enters: the command line. Leaves: text on standard output, and the exit status: 0, or 2 with one line that names
the remedy. Guarantees: ``--help`` imports no command, so it answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from footprint.commands import Action, Command, Program
from footprint.service import fail

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

Model = TypeVar("Model", bound="BaseSettings")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return _PROGRAM.main(arguments)


def _action(model: type[Model], run: Callable[[Model], int]) -> Action:
    """A command whose expected errors end the program with one line."""
    from extender.cluster.offline import StateFileError  # noqa: PLC0415
    from footprint.cluster.client import ApiError, ClusterConfigError  # noqa: PLC0415
    from footprint.settings import SettingsAction  # noqa: PLC0415
    from plugin.manifests import ManifestError  # noqa: PLC0415

    def guarded(settings: Model) -> int:
        try:
            return run(settings)
        except (ClusterConfigError, ManifestError) as error:
            fail(str(error))
        except StateFileError as error:
            fail(f"--state {error}")
        except ApiError as error:
            fail(f"the API server did not answer as expected: {error}", "check access with `kubectl get nodes`")

    return SettingsAction(model, guarded)


def _nodes() -> Action:
    from plugin import tables  # noqa: PLC0415

    return _action(tables.NodesSettings, tables.nodes)


def _pods() -> Action:
    from plugin import tables  # noqa: PLC0415

    return _action(tables.PodsSettings, tables.pods)


def _explain() -> Action:
    from plugin import explain  # noqa: PLC0415

    return _action(explain.ExplainSettings, explain.run)


def _shadow() -> Action:
    from plugin import shadow  # noqa: PLC0415

    return _action(shadow.ShadowSettings, shadow.run)


_PROGRAM: Final = Program(
    "kubectl-footprint",
    "Show the traffic footprints that nodes published, and what the extender makes of them. Reads only.",
    [
        Command("nodes", "each node's link, pods, source and health", _nodes),
        Command("pods", "each measured pod: its class, rates and flows", _pods),
        Command("explain", "which nodes suit a pod, and why", _explain),
        Command("shadow", "what an extender in shadow mode would have changed", _shadow),
    ],
)
