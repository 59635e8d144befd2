#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# node.sh hold NAME DATA RUN PROCS...   become what a node lives in: its mounts and its name; then wait
# node.sh run PID PROCS... -- COMMAND   run COMMAND inside the node that process PID holds
# DATA: the node's folder on disk. RUN: its folder below /run. PROCS: the cgroup.procs files that processes enter.
# `hold` is called in new mount and UTS namespaces, and in the node's network namespace.
set -eu
mode=$1
shift
if [ "$mode" = run ]; then
    pid=$1
    shift
    while [ "$1" != -- ]; do
        echo $$ >"$1"
        shift
    done
    shift
    exec nsenter --target "$pid" --mount --uts --net -- "$@"
fi
name=$1 data=$2 run=$3
shift 3
for procs; do echo $$ >"$procs"; done
hostname "$name"
mount --make-rshared /
for folder in /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/lib/traffic-footprint /var/log/pods \
    /var/log/containers; do
    mkdir -p "$folder" "$data$folder"
    mount --bind "$data$folder" "$folder"
done
mount --make-rshared /var/lib/kubelet
mkdir -p /run/containerd "$run/netns"
mount -t tmpfs -o mode=711 node /run/containerd
# Pods' network namespaces, and none of the machine's own.
mount --bind "$run/netns" /run/netns
mount --make-rshared /run/netns
touch "$run/held"
exec sleep infinity
