# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of the extender: answers, scale, learning, and a simulation of placement quality."""
