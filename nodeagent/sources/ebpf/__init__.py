# SPDX-License-Identifier: Apache-2.0
"""Flows counted by a program on conntrack's functions: per packet in the kernel, per pod in user space.

Enters: this node's addresses, thresholds, the kernel's types. Leaves: ``source.EbpfSource``, its preflight. The
order of imports: ``source``, ``preflight``; ``loader``; ``programs``, ``seeding``, the pure modules;
``compiling``; ``btf``, ``kernel``. Nothing is imported here: the compiling process would import it all.
"""
