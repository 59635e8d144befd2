# SPDX-License-Identifier: Apache-2.0
"""Benchmarks inside kernel virtual machines: instructions, throughput, detection, readers."""
