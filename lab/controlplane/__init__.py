# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes control plane without containers: binaries, certificates, processes."""
