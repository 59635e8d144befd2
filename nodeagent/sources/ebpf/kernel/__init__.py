# SPDX-License-Identifier: Apache-2.0
"""The kernel's side: the bpf(2) system call, maps and their layout, programs, pins, the ring buffer."""
