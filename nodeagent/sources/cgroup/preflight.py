# SPDX-License-Identifier: Apache-2.0
"""What counting at sockets finds here, by trying: find the root, build, attach, and let go.

Leaves: findings for the agent's preflight. None is required, for another source can measure. Guarantees: never
raises; what was attached for the trial is detached again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from nodeagent.sources.cgroup import loader, root
from nodeagent.sources.cgroup.source import at_sockets
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.preflight import TRIAL
from nodeagent.sources.ebpf.problems import EbpfUnavailable
from nodeagent.sources.findings import Finding, Presence

NAME: Final = "eBPF at sockets"


def findings(
    cgroup: Path | None = None, *, compile_timeout: float | None = None, agent: Options | None = None
) -> tuple[Finding]:
    """Whether the programs attach to the root of the cgroup2 tree, or to ``cgroup``. ``agent``: how the agent of
    this machine is started (None: as by default)."""
    options = agent or Options()
    try:
        path = root.find(cgroup)
        if loader.running(at_sockets(options), path):
            return (_yes(f"an agent measures so here now, at {path}"),)
        trial = replace(options, sizes=TRIAL, pins=None, compile_timeout=compile_timeout)
        loader.start(at_sockets(trial), path).close(keep=False)
    except EbpfUnavailable as unavailable:
        problem = unavailable.problem
        fact = f"{problem.fact} [{problem.kind}]"
        return (Finding(NAME, Presence.NO, fact, problem.remedy, required=False),)
    except OSError as error:
        fact = error.strerror or str(error)
        return (Finding(NAME, Presence.UNKNOWN, fact, "run the preflight again", required=False),)
    return (_yes(f"attached to {path}"),)


def _yes(detail: str) -> Finding:
    return Finding(NAME, Presence.YES, detail, required=False)
