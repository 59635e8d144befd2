# SPDX-License-Identifier: Apache-2.0
"""Placement measured on real nodes with programs as Debian ships them: iperf3, redis, nginx, wrk.

Read in order: programs (where they come from), workloads (which pods arrive), results (what the programs print),
driver (one turn with one scheduler), ``__main__`` (both schedulers in one lab, side by side).
"""
