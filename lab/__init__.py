# SPDX-License-Identifier: Apache-2.0
"""A cluster on one machine: real control plane, network-namespace nodes, real traffic."""
