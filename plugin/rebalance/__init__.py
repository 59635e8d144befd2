# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint rebalance``: which pods stand wrong, what moves would gain, and why the others stay.

Enters: a cluster (live, or saved in a file). Leaves: a plan as a table or as JSON. Reads only. The rebalancer's
own functions decide. What it alone remembers is not in the plan: for how long a move has been worth it, and what
was moved lately.
"""
