# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes control plane without containers.

Enters: Go modules with pinned versions, a directory, a network namespace. Leaves: programs built and cached,
certificates, running processes, kubeconfigs. Imports ``lab.processes``, ``lab.network`` and ``lab.errors``.
"""
