# SPDX-License-Identifier: Apache-2.0
"""One seeded workload under two schedulers, measured: ``make demo``.

Enters: a scenario. Leaves: a report with a plot, and a verdict against the acceptance rule. Stands on ``lab.lab``
and ``lab.traffic``.
"""
