# SPDX-License-Identifier: Apache-2.0
"""Flows counted by a program on conntrack's functions: per packet in the kernel, per pod in user space."""

from nodeagent.sources.ebpf.source import EbpfSource

__all__ = ["EbpfSource"]
