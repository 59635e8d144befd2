#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Process 1 of a node's guest: mounts, network, then containerd, kubelet and kube-proxy, started again when they end.
# It finds what the node is told in /node. Disks beside those of lab/kernelvm/guest/initramfs-init.sh: vdd the node's
# own, vde its programs.
export PATH=/opt/node/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8
say() { echo "node: $(cut -d' ' -f1 /proc/uptime) s: $1" >/dev/console; }
fail() { say "$1"; /kernelvm/busybox poweroff -f; }

mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
mkdir -p /dev/pts /dev/shm /run/lock /run/node /root
mount -t devpts -o ptmxmode=666 pts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin
ln -sf fd/1 /dev/stdout
ln -sf fd/2 /dev/stderr
mount --make-rshared /
modprobe -a ext4 virtio_net virtio_console overlay br_netfilter nf_conntrack || fail "a module is missing"

mkdir -p /opt/node /disk
mount -t squashfs -o ro /dev/vde /opt/node || fail "cannot mount the programs"
mount -t ext4 -o noatime /dev/vdd /disk || fail "cannot mount the node's disk"
for folder in /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/lib/traffic-footprint \
    /var/log/pods /var/log/containers; do
    mkdir -p "$folder" "/disk$folder"
    mount --bind "/disk$folder" "$folder"
done
mount --make-rshared /

name=$(cat /node/name)
hostname "$name"
echo "$name" >/etc/hostname
printf '127.0.0.1 localhost\n::1 localhost\n' >/etc/hosts
[ -s /disk/machine-id ] || tr -d - </proc/sys/kernel/random/uuid >/disk/machine-id
cp /disk/machine-id /etc/machine-id
# As on a machine set up for kubelet.
sysctl -q -w vm.overcommit_memory=1 kernel.panic=10 kernel.panic_on_oops=1
sysctl -q -p /node/sysctl.conf || say "not every setting was taken"
nft -f /node/network.nft || fail "the rules were not taken"
ip -batch /node/network.ip || fail "the network's settings were not taken"
say "the node begins; security modules: $(cat /sys/kernel/security/lsm)"

# port NAME: the serial port of that name.
port() {
    local known
    for known in /sys/class/virtio-ports/*/name; do
        [ "$(cat "$known")" = "$1" ] && echo "/dev/$(basename "$(dirname "$known")")" && return
    done
    fail "there is no port $1"
}
# serve NAME COMMAND: runs it, and again when it ends, unless /run/node/NAME.stopped is there.
serve() {
    local name=$1 log
    shift
    log=$(port "$name")
    (
        exec </dev/null >"$log" 2>&1  # one open at a time: all that it runs writes to this one
        while :; do
            while [ -e "/run/node/$name.stopped" ]; do sleep 0.5; done
            "$@" &
            echo $! >"/run/node/$name.pid"
            wait $!
            echo "node: $name ended with status $?"
            rm -f "/run/node/$name.pid"
            sleep 1
        done
    ) &
}
qemu-ga --method=virtio-serial --path="$(port org.qemu.guest_agent.0)" --statedir=/run >/dev/null 2>&1 &
serve containerd containerd --config /node/containerd.toml
until [ -S /run/containerd/containerd.sock ]; do sleep 0.2; done
say "containerd listens"
serve kubelet kubelet --config=/node/kubelet.json --kubeconfig=/node/kubelet.kubeconfig \
    --hostname-override="$name" --node-ip="$(cat /node/addresses)" --node-labels="$(cat /node/labels)"
serve kube-proxy kube-proxy --config=/node/kube-proxy.json
while :; do sleep 1000; done
