"""The main job end to end, measured: one seeded workload under two schedulers."""
