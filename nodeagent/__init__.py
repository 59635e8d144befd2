# SPDX-License-Identifier: Apache-2.0
"""The node agent: it measures flows on one node and annotates the Node object.

A packet's way through the folders: ``sources`` (kernel counters), ``node`` (whose addresses and which link),
``measuring`` (rates and classes), ``publishing`` (the Node's annotations). ``top`` shows the same on a terminal.
"""
