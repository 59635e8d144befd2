# SPDX-License-Identifier: Apache-2.0
"""What this node's own knobs should be, given what was measured. Off unless somebody asks for it.

Modules in the order of the work: ``modes`` and ``flows`` are values. ``priority`` decides which flows'
connections get a mark, and ``ruleset`` writes the rules that read it. ``conntrack``, ``nft`` and ``journal_file``
are the edges. ``undo`` takes back what a journal says. ``part`` does it all, in ``tuner``'s thread beside the
measuring loop.

Guarantees: what is applied is in the journal first. What this agent did not set stays as it is.
"""
