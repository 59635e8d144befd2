# SPDX-License-Identifier: Apache-2.0
"""Namespaces, links, shaping, pods' wiring and Service addresses of one lab."""
