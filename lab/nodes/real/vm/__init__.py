# SPDX-License-Identifier: Apache-2.0
"""Nodes in virtual machines: Debian's own kernels, beside the nodes in namespaces and on the same fabric.

Read in order: preconditions (what the machine must offer), disks (what a guest finds: Debian, programs, settings,
a disk of its own), preload (the images on that disk), machine (QEMU's arguments), cable (the guest on the fabric),
guest (commands in it), node. ``guest/init.sh`` is the guest's process 1.
"""
