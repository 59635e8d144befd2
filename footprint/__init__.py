# SPDX-License-Identifier: Apache-2.0
"""The contract that node agent and scheduler extender share: keys, models, codec, classes,
staleness, workload identity, and what pods declare by annotation.

Everything here is pure (values and ``now`` in, values out) except ``footprint.cluster``, which talks to the
Kubernetes API for both sides, and ``footprint.service``, which holds what every long-running process does
alike (logs, signals).
"""
