"""Benchmarks of the node agent's process and of reading the connection table."""
