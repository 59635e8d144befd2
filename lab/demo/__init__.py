# SPDX-License-Identifier: Apache-2.0
"""The main job end to end, measured: one seeded workload under two schedulers."""
