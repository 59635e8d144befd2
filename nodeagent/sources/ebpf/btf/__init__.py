# SPDX-License-Identifier: Apache-2.0
"""The kernel's own description of its types (BTF): where a member lies and which arguments a function takes.

Nothing here needs kernel headers, debug files or privileges: /sys/kernel/btf is world-readable.
"""

from nodeagent.sources.ebpf.btf.blob import BtfError, Reason
from nodeagent.sources.ebpf.btf.types import Btf

__all__ = ["Btf", "BtfError", "Reason"]
