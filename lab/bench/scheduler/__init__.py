# SPDX-License-Identifier: Apache-2.0
"""Benchmarks with the real API server and kube-scheduler."""
