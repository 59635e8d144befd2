# SPDX-License-Identifier: Apache-2.0
"""What the API server shows, followed by watches and published as one immutable snapshot.

Enters: Nodes, Leases, Pods and TrafficFootprints. Leaves: ``model.snapshot.Snapshot``. May import ``model``.
"""
