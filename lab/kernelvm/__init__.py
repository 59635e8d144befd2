# SPDX-License-Identifier: Apache-2.0
"""Real kernels in virtual machines: boot one, run a command in the checkout as root, bring its files back.

Read in order: kernels (which), packages (what is fetched), rootfs and image (what is built, once), transfer (what
goes in and comes out), qemu (the machine, as arguments), vm (boot, stream, bound, collect).
"""
