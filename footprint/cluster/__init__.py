# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API, for all programs: connect, request, list, follow a collection.

Enters: credentials. Leaves: JSON objects. May import the rest of ``footprint``; knows neither agent nor extender.
"""
