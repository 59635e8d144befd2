#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The guest's process 1: sets the system up, runs the command it was sent, sends /out and the status back.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 TERM=${TERM:-dumb}
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
mkdir -p /dev/pts /dev/shm /out /root
mount -t devpts -o ptmxmode=666 pts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs trace /sys/kernel/tracing
mount -t debugfs debug /sys/kernel/debug
ln -sf /proc/self/fd /dev/fd
hostname kernelvm
ip link set lo up
cd /work || exit
if [ -e /kernelvm/shell ]; then
    export TERM=vt220
    /kernelvm/busybox setsid /kernelvm/busybox cttyhack bash --login
    status=$?
else
    # What the command writes goes out of the second serial port as it is.
    stty -F /dev/ttyS1 raw -echo
    # lab/kernelvm/vm.py looks for this line: from here on a guest that dies is not started again.
    echo "kernelvm: the session begins" >/dev/console
    # A session of its own, so that a stray kill of the group 0 does not reach process 1. Through a pipe, so that
    # nobody takes the serial port for a person's terminal.
    setsid --wait bash /kernelvm/command </dev/null 2>&1 | cat >/dev/ttyS1
    status=${PIPESTATUS[0]}
fi
echo "$status" >/kernelvm/status
tar -cf /dev/vdd -C /kernelvm status -C / out || echo "kernelvm: /out does not fit the disk that takes it back"
sync
/kernelvm/busybox poweroff -f
