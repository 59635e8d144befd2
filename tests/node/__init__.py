# SPDX-License-Identifier: Apache-2.0
"""Tier ``node``: the shipped chart and the shipped images on real kubelets, containerd and kube-proxy."""
