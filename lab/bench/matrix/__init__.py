# SPDX-License-Identifier: Apache-2.0
"""Mice and elephants under every combination of a node's queue, the place of the bottleneck and the placement."""
