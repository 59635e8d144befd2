# SPDX-License-Identifier: Apache-2.0
"""The links by which this node reaches others, and which of them a packet takes.

Enters: rtnetlink's links, routes of every table that a rule reaches, and single route look-ups. Leaves: the
uplinks, what carries each, the uplink of a flow, and word of changes. Deciding is pure (``interfaces``,
``discovery``); ``kernel``, ``lookup`` and ``watch`` ask the kernel. Everything is bounded: a node may have a
thousand interfaces and a hundred thousand routes.
"""
