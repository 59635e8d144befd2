# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of the node agent's process and of reading the connection table."""
