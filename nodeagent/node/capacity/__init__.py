# SPDX-License-Identifier: Apache-2.0
"""What a link can carry, from the first that knows, and whether it is full now.

Enters: what operators and provisioners said of the node, the interface's driver, queues, drops and counters.
Leaves: a capacity per direction with where it came from, and the directions that are saturated. ``driver``,
``ethtool``, ``queues`` and ``signals`` read the kernel, ``links`` joins everything, and the others are pure.
"""
