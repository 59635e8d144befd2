# SPDX-License-Identifier: Apache-2.0
"""Named counters of nft rules: somebody else's count of the bytes that a source is compared with."""

from __future__ import annotations

import json
import subprocess


def counters() -> dict[str, int]:
    """Bytes of every named counter of this thread's network namespace, by name."""
    shown = subprocess.run(["nft", "-j", "list", "counters"], capture_output=True, check=True).stdout
    listed = [item["counter"] for item in json.loads(shown)["nftables"] if "counter" in item]
    return {counter["name"]: counter["bytes"] for counter in listed}
