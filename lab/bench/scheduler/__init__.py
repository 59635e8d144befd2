"""Benchmarks with the real API server and kube-scheduler."""
