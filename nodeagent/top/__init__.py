# SPDX-License-Identifier: Apache-2.0
"""Live elephants and footprints on a terminal: pods file → names, reading → view → table, lines or JSON.

Enters: settings, a flow source, optionally names of addresses. Leaves: text on stdout. May import ``measuring``,
``node`` and ``sources``, never ``publishing``: it needs no cluster.
"""
