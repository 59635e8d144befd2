# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API, for both sides: how to reach it, how to follow a collection of objects."""
