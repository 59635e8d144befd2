# SPDX-License-Identifier: Apache-2.0
"""Move pods that stand wrong: find them, weigh a move against a restart, and ask the Eviction API.

Enters: snapshots and pods from ``cluster``, and pods, Nodes and Namespaces as the API serves them. Leaves: plans,
evictions, Events, figures. ``gain``, ``eligibility``, ``constraints``, ``history`` and ``plan`` are pure: values
and ``now`` in, values out. ``reader``, ``evictor``, ``rebalancer`` and ``feed`` are the edges. May import
``placement`` (its verdicts are the costs here), ``cluster``, ``model``, and the election of ``learning``.
"""
