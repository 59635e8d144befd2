"""Benchmarks of the eBPF program's helpers and of reading its maps, natively."""
