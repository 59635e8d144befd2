# SPDX-License-Identifier: Apache-2.0
"""The program ``nft``, for one table. Effects only.

A process of its own for each change: changes are rare, and nftables' parser stays out of the resident agent.
"""

from __future__ import annotations

import subprocess
from typing import Final

from nodeagent.tuning import ruleset
from nodeagent.tuning.modes import Refusal, TuningRefusedError

_SECONDS: Final = 10.0
_SAID: Final = 300
"""Characters of a complaint that are passed on."""


def present() -> str | None:
    """The form of our table (``ruleset.form``); None when there is none. Raises TuningRefusedError."""
    done = _run(["-j", "list", "table", ruleset.FAMILY, ruleset.TABLE])
    if done.returncode == 0:
        return ruleset.form(done.stdout) or ""
    if "No such file" in done.stderr:
        return None
    raise TuningRefusedError(Refusal.RULES_REFUSED, f"tables cannot be listed: {_complaint(done)}")


def load(script: str, *, check: bool = False) -> None:
    """Run ``script`` as one transaction; ``check``: only whether it could be. Raises TuningRefusedError."""
    done = _run([*(["--check"] if check else []), "-f", "-"], script)
    if done.returncode:
        raise TuningRefusedError(Refusal.RULES_REFUSED, f"nft refused the rules: {_complaint(done)}")


def _run(arguments: list[str], script: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["nft", *arguments], input=script, capture_output=True, text=True, check=False, timeout=_SECONDS,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )  # fmt: skip
    except FileNotFoundError as error:
        raise TuningRefusedError(
            Refusal.NO_NFT, "the program nft is not there; install the package nftables"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TuningRefusedError(Refusal.RULES_REFUSED, f"nft did not run: {error}") from error


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stderr.split())[:_SAID] or f"exit status {done.returncode}"
