# SPDX-License-Identifier: Apache-2.0
"""Where traffic figures come from.

Enters: who lives on this node (``Locality``). Leaves: ``Reading`` values. ``base`` is the interface of every
source; ``select`` opens one of them. The order of imports: ``select``, ``ebpf``, ``ctnetlink``, then ``base``,
``tuples`` and ``findings``, which import neither.
"""
