"""Benchmarks of the extender: answers, scale, learning, and a simulation of placement quality."""
