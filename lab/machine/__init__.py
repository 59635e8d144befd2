# SPDX-License-Identifier: Apache-2.0
"""What real nodes use of this machine outside of their namespaces: cgroups with processes, and disk files."""
