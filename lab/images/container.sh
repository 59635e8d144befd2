#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# container.sh ROOTFS [BIND SOURCE TARGET ro|rw]... RUN COMMAND...: COMMAND in ROOTFS, as a container runtime sets it up.
# Expects a mount namespace of its own. ROOTFS itself is never written: targets of mounts are made in a layer above it,
# which is read-only when COMMAND begins. Fresh /proc (with /proc/sys read-only), /sys (read-only) and a minimal /dev.
# The last step is an exec: process id, signals and status are COMMAND's. Sources below /mnt are hidden.
set -eu
rootfs=$1 root=/mnt/root
shift
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work "$root"
mount -t overlay -o "lowerdir=$rootfs,upperdir=/mnt/upper,workdir=/mnt/work" overlay "$root"
mkdir -p "$root/proc" "$root/sys" "$root/dev"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o nosuid,nodev,noexec,ro sysfs "$root/sys"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for device in null zero full random urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
while [ "$1" = BIND ]; do
    target=$root$(chroot "$root" readlink -m -- "$3") # links such as /var/run are the image's: resolved inside
    if [ -d "$2" ]; then
        [ -d "$target" ] || mkdir -p "$target"
    else
        mkdir -p "${target%/*}"
        [ -e "$target" ] || : >"$target"
    fi
    mount --bind "$2" "$target"
    [ "$4" = rw ] || mount -o remount,bind,ro "$target"
    shift 4
done
[ "$1" = RUN ]
shift
mount -o remount,ro "$root"
exec chroot "$root" "$@"
