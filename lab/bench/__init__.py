# SPDX-License-Identifier: Apache-2.0
"""Measurements that anyone can repeat; each prints its table and, with ``--output json``, the same as JSON."""
