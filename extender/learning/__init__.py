# SPDX-License-Identifier: Apache-2.0
"""What workloads do to the network, kept beyond their pods' lives in TrafficFootprint objects.

Enters: what ``cluster`` sums up of each workload. Leaves: TrafficFootprint objects, written by one elected
replica. May import ``cluster`` and ``model``.
"""
