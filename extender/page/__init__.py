# SPDX-License-Identifier: Apache-2.0
"""The live page: what people look at in a browser, on the port of those who observe.

Enters: the cluster state, what the verbs answered (``decisions``), and GET requests. Leaves: static files, JSON,
and a stream of server-sent events. Guarantees: it changes nothing and decides nothing; what it keeps in memory
is bounded; it works in slices of a fraction of a millisecond, so that placement does not wait for it; a reader
that does not read costs nothing and is cut.
"""
