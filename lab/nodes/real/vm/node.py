# SPDX-License-Identifier: Apache-2.0
"""One node in a virtual machine: started, killed, started again; commands inside it.

Enters: what a node in a namespace gets, and a kernel's name. Leaves: a node that registers itself as soon as its
guest has booted. Guarantees: ``stop`` ends the machine at once, as pulling its plug does. Its disk stays until the
lab is removed, so that ``start`` boots the same node again. QEMU runs in the node's network namespace, where
whoever removes that ends it.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from footprint.units import parse_bandwidth
from lab.errors import LabError
from lab.kernelvm import image
from lab.kernelvm.kernels import by_name
from lab.kernelvm.progress import say
from lab.network import addresses
from lab.network.fabric import Host, NodeSpec
from lab.nodes.real import files, pins
from lab.nodes.real.node import Credentials, Node
from lab.nodes.real.vm import cable, disks
from lab.nodes.real.vm.guest import Done, Guest
from lab.nodes.real.vm.machine import Machine, command
from lab.processes import Process, start

INIT: Final = Path(__file__).parent / "guest" / "init.sh"
BEGUN: Final = "the node begins"
"""What the guest's process 1 says on the console."""
STARTS: Final = 3
"""How often QEMU is started at most: it has been seen to die of a segmentation fault before the guest began."""
_PROGRAM_SECONDS: Final = 120.0


class VmNode(Node):
    """A node with a kernel and a machine of its own.

    ``hosts`` are those on the lab's bridge. Its disk begins as ``preloaded``. ``processors`` are emulated ones.
    """

    def __init__(
        self, spec: NodeSpec, prefix: str, *, kernel: str, programs: Mapping[str, Path], run: Path, data: Path,
        logs: Path, hosts: Sequence[Host], credentials: Credentials, preloaded: Path, processors: int = 1,
        **settings: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            spec,
            prefix,
            programs=disks.in_guest(),
            credentials=credentials,
            run=run,
            data=data,
            logs=logs,
            **settings,
        )
        self.kernel, self._hosts, self._preloaded = kernel, hosts, preloaded
        self._places = replace(self._places, config=disks.CONFIG)
        self._run.mkdir(parents=True)
        self.machine = Machine(
            name=self.name,
            kernel=image.image(by_name(kernel)), debian=disks.debian_image(),
            programs=disks.programs_image(programs),
            told=self._run / "told.tar", own=data / f"{self.name}.ext4",
            mac=cable.mac(spec.index), speed=max(1, round(parse_bandwidth(spec.link) / 1e6)),
            run=self._run, logs=logs, processors=processors,
        )  # fmt: skip
        self._guest = Guest(self.machine.agent)
        self._laid = False
        self._starts = 0
        self._qemu: Process | None = None

    # -- coming and going ----------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Make what the guest finds: its cable and its disks. What is there already stays. Raises LabError."""
        if not self._laid:
            cable.lay(self.cgroup)
            self._laid = True
        if not self.machine.own.exists():
            disks.own(self.machine.own, self._preloaded)
        disks.told(self.machine.told, self._all_texts(), INIT)

    def start(self) -> None:
        """Boot; returns at once. The node is Ready half a minute or more later."""
        self.hold()
        self.machine.console.unlink(missing_ok=True)
        self._starts += 1
        log = self._logs / f"qemu-{self.name}.log"
        self._qemu = start(command(self.machine), log=log, name=f"node {self.name}", netns=self.cgroup)

    def stop(self) -> None:
        """End the machine at once; may be called at any time, repeatedly."""
        self._guest.close()
        if self._qemu is not None:
            self._qemu.stop(signal.SIGKILL)
        self._qemu = None

    def watch(self) -> None:
        """Start QEMU again if it died before its guest began. Raises LabError when the machine has ended."""
        if self._qemu is None or self._qemu.running:
            return
        status = self._qemu.returncode or 0
        if status >= 0 or self._begun() or self._starts >= STARTS:
            self._qemu.check()
        say(f"{self.name}: QEMU died of signal {-status} before its guest began; starting it again", area="nodes")
        self.start()

    def ended(self) -> list[str]:
        """The machine, if it ended without having been stopped."""
        return [f"qemu-{self.name}"] if self._qemu is not None and not self._qemu.running else []

    def _begun(self) -> bool:
        return self.machine.console.exists() and BEGUN in self.machine.console.read_text(errors="replace")

    # -- its programs --------------------------------------------------------------------------------------------

    def start_containerd(self) -> None:
        """Start containerd and wait until it takes requests. Raises LabError."""
        self._go(pins.CONTAINERD)
        self.run(["sh", "-c", f"until [ -S {files.CONTAINERD_SOCKET} ]; do sleep 0.2; done"], _PROGRAM_SECONDS)

    def start_kubelet(self) -> None:
        self._go(pins.KUBELET)

    def start_kube_proxy(self) -> None:
        self._go(pins.KUBE_PROXY)

    def stop_program(self, program: str, sig: int = signal.SIGTERM) -> None:
        """Stop one; nothing happens when it does not run. Pods and their shims go on."""
        pid = f"/run/node/{program}.pid"
        self.run(
            ["sh", "-c", f"touch /run/node/{program}.stopped; kill -{int(sig)} $(cat {pid}); "
             f"while [ -e {pid} ]; do sleep 0.2; done"], _PROGRAM_SECONDS,
        )  # fmt: skip

    def _go(self, program: str) -> None:
        self.run(["rm", "-f", f"/run/node/{program}.stopped"])

    def run(self, argv: Sequence[str | Path], timeout: float = 60.0) -> str:
        """What a command prints inside the guest. Raises LabError."""
        done = self.attempt(argv, timeout)
        if done.status:
            raise LabError(f"{' '.join(map(str, argv))} failed on {self.name}: {done.err.strip()}")
        return done.out

    def attempt(self, argv: Sequence[str | Path], timeout: float = 60.0) -> Done:
        """How a command inside the guest ends, whatever its status. Raises LabError where it cannot be run."""
        return self._guest.run([str(word) for word in argv], timeout)

    def responds(self) -> bool:
        """Whether the guest runs commands by now."""
        with suppress(LabError):
            return self.run(["true"], 10) == ""
        return False

    # -- parts ---------------------------------------------------------------------------------------------------

    def _all_texts(self) -> dict[str, str]:
        """All that the guest is told, by path below ``disks.CONFIG``."""
        index, given = self.spec.index, self._credentials
        ca, kube_proxy = disks.CONFIG / "ca.crt", disks.CONFIG / "kube-proxy.kubeconfig"
        return {
            **cable.texts(index, self._hosts),
            **self._texts(ca, kube_proxy, None),
            "ca.crt": given.ca.read_text(),
            "kubelet.kubeconfig": disks.whole(given.kubelet),
            "kube-proxy.kubeconfig": disks.whole(given.kube_proxy),
            "name": self.name,
            "addresses": f"{addresses.node_v4(index)},{addresses.node_v6(index)}",
            "labels": f"{files.KERNEL_LABEL}={self.kernel}",
        }
