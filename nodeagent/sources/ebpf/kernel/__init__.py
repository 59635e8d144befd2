# SPDX-License-Identifier: Apache-2.0
"""The kernel's side: the bpf(2) system call, maps and their layout, pins, the ring buffer.

Enters: values in this project's terms. Leaves: descriptors and bytes; errors stay OSError. May import
``sources.base`` only.
"""
