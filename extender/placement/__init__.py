# SPDX-License-Identifier: Apache-2.0
"""Filter and score candidates: which nodes a pod should avoid, how the others score, and why.

Enters: a demand, candidates and a snapshot. Leaves: rejected nodes, scores, explanations. May import ``model``;
pure, except that ``tables`` keeps results between requests.
"""
