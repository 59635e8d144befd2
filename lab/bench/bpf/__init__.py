# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of the eBPF program's helpers and of reading its maps, natively."""
