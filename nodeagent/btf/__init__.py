"""The kernel's own description of its types (BTF): where a member lies and which arguments a function takes.

Nothing here needs kernel headers, debug files or privileges: /sys/kernel/btf is world-readable.
"""

from nodeagent.btf.blob import BtfError, Reason
from nodeagent.btf.types import Btf

__all__ = ["Btf", "BtfError", "Reason"]
