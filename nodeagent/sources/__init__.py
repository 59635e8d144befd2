# SPDX-License-Identifier: Apache-2.0
"""Flow sources: what measures traffic, by eBPF or by ctnetlink.

Enters: this node's addresses (``Locality``). Leaves: ``Reading`` values. ``base`` is the interface of every
source; ``select`` opens one of them. The order of imports: ``select``, ``ebpf``, ``ctnetlink``, then ``base``,
``tuples`` and ``findings``, which import neither.
"""
