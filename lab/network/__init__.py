# SPDX-License-Identifier: Apache-2.0
"""The network of played nodes: namespaces, links, shaping, wiring of pods and Service addresses of one lab.

Enters: names, rates and addresses. Leaves: network namespaces with links, routes and nftables rules. Imports only
``lab.errors``.
"""
