#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# First program of the guest: finds the disks, stacks a writable layer on the root file system, and hands over.
# Disks, in QEMU's order: vda root file system, vdb kernel modules, vdc what the host sends, vdd what goes back.
b=/bin/busybox
fail() { echo "kernelvm: $1"; $b poweroff -f; }
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
for module in /modules/*.ko; do $b insmod "$module" || fail "cannot load $module"; done
tries=0
until [ -b /dev/vdd ]; do
    tries=$((tries + 1)); [ $tries -lt 300 ] || fail "the disks did not appear"
    $b usleep 100000
done
$b mount -t squashfs -o ro /dev/vda /lower || fail "cannot mount the root file system"
$b mount -t tmpfs -o size=80% upper /upper
$b mkdir /upper/files /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root || fail "no overlay"
modules=/root/usr/lib/modules/$($b uname -r)
$b mkdir -p "$modules"
$b mount -t squashfs -o ro /dev/vdb "$modules" || fail "cannot mount the kernel modules"
$b tar -xf /dev/vdc -C /root || fail "cannot read what the host sent"
$b cp $b /root/kernelvm/busybox
for folder in proc sys dev; do $b mount --move /$folder /root/$folder; done
exec $b switch_root /root /kernelvm/init
