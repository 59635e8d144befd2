"""Benchmarks inside kernel virtual machines: instructions, throughput, detection, readers."""
