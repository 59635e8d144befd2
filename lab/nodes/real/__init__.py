# SPDX-License-Identifier: Apache-2.0
"""Real nodes on this machine: kubelet, containerd, runc, CNI plugins and kube-proxy in namespaces of their own.

Read in order: pins (which programs, at which versions), preconditions (what the machine must offer), files (what a
node's programs read), network and kuberouter (how pods reach each other), node (starting and ending one), layout,
images and registry (what its pods run and where they get it), dns, cluster (all of it as a context manager).
"""
