# SPDX-License-Identifier: Apache-2.0
"""Benchmarks that anyone can repeat. Each prints a table, JSON, or either by ``--output``."""
