# SPDX-License-Identifier: Apache-2.0
"""What real nodes hold of this machine outside namespaces: cgroups with their processes, and disks."""
