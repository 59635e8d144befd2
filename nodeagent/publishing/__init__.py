# SPDX-License-Identifier: Apache-2.0
"""What is written to the API server, and when (the write budget): the Node's annotations, the Lease, Events.

Enters: footprints, pods with annotations that were not understood. Leaves: few, small requests from threads of
their own, so that measuring never waits. May import ``node`` and ``measuring``.
"""
