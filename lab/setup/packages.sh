#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# packages.sh [kernelvm|images|nodes|page|shells|prometheus]: install the distribution packages that agent, lab and tests need, or those of the
# kernel virtual machines, or of the container images; nothing happens when all are there.
#   python3-bpfcc  bcc's Python binding: from the distribution, on PyPI that name is another project
#   python3-venv   the virtual environment is made with the distribution's Python, so that it sees bcc
#   iproute2, nftables, conntrack, ethtool, procps, util-linux   namespaces, shaping, NAT, ground truth for tests
#   gcc, bpftool   the eBPF program's helpers as plain C under test; the BTF reader held against bpftool's
#   openssl        certificates of the lab's control plane
#   cpio           reads what the kernel VMs' initramfs writer wrote, under test
# kernelvm:
#   qemu-system-x86   the machine, in software
#   mmdebstrap        the guest's root file system; squashfs-tools packs it; kmod indexes the kernel's modules
# images:
#   buildah   builds from a Dockerfile without a container engine; mmdebstrap makes the base; zstd tells sizes
# nodes (real ones; their images as well):
#   docker-registry   serves the nodes' images; skopeo pushes them; busybox-static is one of them
#   libseccomp-dev    runc filters system calls by it; pkg-config finds it
#   iptables          the portmap plugin's, kube-proxy's and kube-router's rules; ipset, kube-router's sets of addresses
# page:
#   chromium      looks at the live page under test; nodejs and npm drive it and bring its library
#   tmux          is the terminal of which `make demo-live` takes a picture
# shells:
#   bash-completion, zsh, fish   complete the plugin's commands and names under test, on the terminal that tmux is
# prometheus:
#   prometheus   judges names of metrics, runs the chart's rules and the dashboards' queries under test. Installing it
#                starts no server: its unit is masked, unless it was there before.
set -eu
case "${1:-}" in
"") packages="python3-bpfcc python3-venv iproute2 nftables conntrack ethtool procps util-linux gcc libc6-dev bpftool
    openssl cpio ca-certificates" ;;
kernelvm) packages="qemu-system-x86 mmdebstrap squashfs-tools kmod" ;;
images) packages="buildah mmdebstrap zstd" ;;
nodes) packages="docker-registry skopeo buildah mmdebstrap zstd busybox-static libseccomp-dev pkg-config iptables
    ipset" ;;
page)
    packages="chromium tmux"
    command -v npm >/dev/null || packages="$packages nodejs npm" # any other source of them will do
    ;;
shells) packages="bash-completion zsh fish tmux" ;;
prometheus) packages="prometheus" ;;
*)
    echo "error: $1 is no set of packages; use none, kernelvm, images, nodes, page, shells or prometheus" >&2
    exit 2
    ;;
esac
missing=""
for package in $packages; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "error: these Debian packages are needed:$missing; install their equivalents of your distribution" >&2
    exit 2
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "error: these packages are missing:$missing; run as root, or: sudo apt-get install -y$missing" >&2
    exit 2
fi
echo "== installing$missing"
unit=/etc/systemd/system/prometheus.service
if [ "${1:-}" = prometheus ] && [ ! -e "$unit" ]; then
    mkdir -p "${unit%/*}"
    ln -s /dev/null "$unit"
    export RUNLEVEL=1 # for machines without systemd: nothing starts in single-user mode
fi
log=$(mktemp -t traffic-footprint-apt.XXXXXX)
# shellcheck disable=SC2086  # a list of words on purpose
if ! { apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "error: apt-get could not install$missing (all it said: $log); mend what it names, most often a mirror" \
        "that cannot be reached or another apt that runs, then run this again" >&2
    exit 1
fi
rm -f "$log"
