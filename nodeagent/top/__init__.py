# SPDX-License-Identifier: Apache-2.0
"""Live elephants and footprints on a terminal: pods file → names, reading → view → table, lines or JSON."""
