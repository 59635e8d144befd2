# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint explain``: what the extender would say of a pod, and why.

Enters: a pod (its name, or manifests) and a cluster (live, or saved in a file). Leaves: the verdict as a table or
as JSON. The extender's own functions decide, by its own settings. The flags have the same names and defaults here.
Only ages differ: they are computed from the cluster's own clocks.
"""
