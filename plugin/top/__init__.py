# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint top``: the cluster's elephants, live on a terminal.

Enters: Nodes as they change, and keys. Leaves: a screen that is drawn anew, or one table where standard output is
no terminal. ``state`` and ``layout`` are pure; ``screen`` alone knows curses.
"""
