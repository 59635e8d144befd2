# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes cluster on one machine, and what is made with it.

- ``lab`` starts a cluster from ``config``: ``network``, ``controlplane``, ``nodes``, then agents and the extender.
- ``traffic`` are programs that pods run. ``demo`` plays one workload twice and compares.
- ``images`` and ``kernelvm`` build container images and boot other kernels. ``bench`` measures.
- ``setup`` runs before the Python environment exists.

The ``layers`` contracts in ``pyproject.toml`` say which folder may import which.
"""
