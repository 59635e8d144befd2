# SPDX-License-Identifier: Apache-2.0
"""What this node is: its pods, their addresses, its link.

Enters: Pods of the API, the kernel's addresses and interface counters. Leaves: ``Locality``, ``Link``. May
import ``sources.base`` only.
"""
