# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint doctor``: what is wrong with a cluster's Traffic Footprint, as seen from outside.

Enters: objects of the API server, and the extender's metrics. Leaves: findings. ``gather`` alone asks the API
server. ``checks`` are pure: what was read goes in, findings come out.
"""
