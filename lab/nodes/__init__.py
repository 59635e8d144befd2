# SPDX-License-Identifier: Apache-2.0
"""The nodes of a lab, played: pods of the API become processes in network namespaces.

Enters: pods, Services and EndpointSlices from the API server. Leaves: Node objects with heartbeats, processes,
pods' statuses, Service rules. Imports ``lab.network`` and ``lab.errors``. Runs as a process of its own:
``python -m lab.nodes``.

Read in order: registration (the Node), plan (a pod as it is to run), pods and worker (its life), runtime (its
namespace and process), status (what the API is told), services (DNAT rules).
"""
