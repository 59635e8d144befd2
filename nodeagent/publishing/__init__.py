# SPDX-License-Identifier: Apache-2.0
"""Footprints to the API: whether one is worth a write, the write, the heartbeat, Events, the handover.

Enters: ``footprint.models.NodeFootprint``. Leaves: requests to the API server. May import ``node``.
"""
