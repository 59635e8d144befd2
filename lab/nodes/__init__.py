# SPDX-License-Identifier: Apache-2.0
"""A kubelet stand-in for all of a lab's nodes: real pods of the API become processes in network namespaces."""
