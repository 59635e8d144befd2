# SPDX-License-Identifier: Apache-2.0
"""Functions of conntrack that a kernel might lack, and those that are hooked in their stead."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_ADD, _REFRESH = "nf_ct_acct_add", "__nf_ct_refresh_acct"
_INSERT, _CONFIRM = "__nf_conntrack_hash_insert", "__nf_conntrack_confirm"
_FREE, _DESTROY = "nf_conntrack_free", "nf_ct_destroy"
WITHOUT: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        f"{_ADD} {_INSERT} {_FREE}": (_REFRESH, _CONFIRM, _DESTROY),
        f"{_INSERT} {_CONFIRM}": (_ADD, _FREE),
    }
)
"""What is missing, and what is hooked then. What ``__nf_ct_refresh_acct`` takes differs between the guests'
kernels."""
