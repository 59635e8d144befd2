# SPDX-License-Identifier: Apache-2.0
"""The node agent: measures this node's traffic and publishes each pod's footprint on its Node object.

Enters: a command line, settings. Leaves: annotations, a Lease, Events, metrics (``metrics``, served by
``metrics_port``); or a live view (``top``). The order of imports, each only from those to its right: ``cli``;
``run``, ``preflight``, ``top``, ``unload``; ``agent``; ``publishing``, ``metrics``; ``measuring``; ``node``;
``sources``. ``footprint`` is open to all.
"""
