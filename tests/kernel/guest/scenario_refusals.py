# SPDX-License-Identifier: Apache-2.0
"""Machines on which eBPF cannot run: the preflight names reason and remedy, the agent measures by ctnetlink.

Each lacks something real: a file system hidden from the agent by a mount of its own, a capability, memory, a
program that the verifier takes, or the kernel's permission. Which hook would have carried the program plays no
part, so ``auto`` is asked, as a node's agent is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.network import netns
from nodeagent.sources.ebpf.problems import REMEDY, Cause
from tests.kernel.guest.network import Network, network

BTF, BCC = "kernel types (BTF) of conntrack", "bcc"
FENTRY, KPROBE = "eBPF on conntrack by fentry", "eBPF on conntrack by kprobe"
DIST_PACKAGES = "/usr/lib/python3/dist-packages"
TOO_MANY = 2**27
"""Flows: more memory than the guest has, for the table of buckets alone, so that nothing is taken first."""


@dataclass(frozen=True)
class Case:
    """What is missing, and what must be said of it."""

    capability: str
    """The finding that must say no."""
    kind: Cause
    says: str
    mounts: str = ""
    """Shell commands in a mount namespace of the agent's own."""
    arguments: tuple[str, ...] = ()
    of_the_kernel: bool = False
    """What is missing, or who says so, differs between kernels."""


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network() as made:
        yield made


def tried(
    net: Network, *arguments: str, mounts: str = "", wrapper: Sequence[str] = (), variables: Sequence[str] = ()
) -> dict[str, Any]:
    """The answer of tests.kernel.guest.trial."""
    argv = ["env", *variables, sys.executable, "-m", "tests.kernel.guest.trial", *arguments]
    if mounts:
        argv = ["unshare", "--mount", "sh", "-ec", f'{mounts}\nexec "$@"', "sh", *argv]
    with netns.entered(net.node):
        done = subprocess.run([*wrapper, *argv], stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def assert_refused(answer: dict[str, Any], capability: str, kind: Cause, says: str) -> None:
    """The finding says no, in the words of its kind; the agent fell back, and said why in the same words."""
    verdict, detail, remedy = answer["findings"][capability]
    assert verdict == "no", answer["findings"]
    assert f"[{kind}]" in detail
    assert says in detail
    assert remedy == REMEDY[kind]
    assert answer["chosen"] == "ctnetlink"
    (reason,) = answer["passed over"]
    assert reason.startswith("ebpf: ")
    assert says in reason
    assert REMEDY[kind] in reason


MISSING = {
    "bcc": Case(
        BCC, Cause.BCC_MISSING, "No module named 'bcc'",
        f"cp -a {DIST_PACKAGES} /tmp/without-bcc; rm -r /tmp/without-bcc/bcc\n"
        f"mount --bind /tmp/without-bcc {DIST_PACKAGES}", ("--compile",),
    ),
    "BTF": Case(
        BTF, Cause.NO_BTF, "/sys/kernel/btf/vmlinux cannot be read",
        "mount -t tmpfs none /sys/kernel/btf", ("--compile",),
    ),
    "BTF of the module": Case(
        BTF, Cause.NO_BTF, "nf_conntrack", "cp /sys/kernel/btf/vmlinux /tmp\nmount -t tmpfs none /sys/kernel/btf\n"
        "cp /tmp/vmlinux /sys/kernel/btf", ("--compile",),
    ),
    "a prototype that is known": Case(
        BTF, Cause.UNKNOWN_PROTOTYPE, "arguments that are not known",
        "mkdir /tmp/types; cp /sys/kernel/btf/vmlinux /sys/kernel/btf/nf_conntrack /tmp/types\n"
        r"sed -i 's/\x00packets\x00/\x00packetz\x00/; s/\x00extra_jiffies\x00/\x00extra_jiffiez\x00/' /tmp/types/*"
        "\nmount --bind /tmp/types /sys/kernel/btf", ("--compile",), of_the_kernel=True,
    ),
    "memory for the maps": Case(
        FENTRY, Cause.MAP_REFUSED, f"map flows of {TOO_MANY} entries", arguments=(f"--flows={TOO_MANY}",),
        of_the_kernel=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=() if case.of_the_kernel else pytest.mark.one_kernel)
        for name, case in MISSING.items()
    ],
)
def test_without_it_the_preflight_says_so_and_ctnetlink_measures(net: Network, case: Case) -> None:
    answer = tried(net, *case.arguments, mounts=case.mounts)
    assert_refused(answer, case.capability, case.kind, case.says)


def test_what_the_verifier_says_is_shown_and_its_whole_log_kept(net: Network, tmp_path: Path) -> None:
    answer = tried(net, "--refused", variables=[f"TMPDIR={tmp_path}"])
    says = "invalid bpf_context access off=32760 size=8"
    for capability in (FENTRY, KPROBE):
        assert answer["findings"][capability][0] == "no"
        assert says in answer["findings"][capability][1]
    assert_refused(answer, KPROBE, Cause.VERIFIER, says)
    kept = list(tmp_path.iterdir())
    assert kept
    for log in kept:
        text = log.read_text()
        assert says in text
        assert "processed " in text
    assert any(str(log) in answer["passed over"][0] for log in kept)


def test_without_capabilities_of_its_own_ebpf_says_which_it_lacks(net: Network) -> None:
    only = "-all,+net_admin"
    answer = tried(net, wrapper=["setpriv", f"--bounding-set={only}", f"--inh-caps={only}", "--"])
    assert_refused(answer, KPROBE, Cause.NO_PERMISSION, "without CAP_BPF and CAP_PERFMON and CAP_SYS_ADMIN")


def test_without_any_capability_both_sources_say_what_they_need(net: Network) -> None:
    answer = tried(net, wrapper=["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"])
    assert answer["chosen"] == ""
    ebpf, ctnetlink = answer["passed over"]
    assert "NET_ADMIN" in ebpf
    assert "NET_ADMIN" in ctnetlink


@pytest.mark.irreversible
def test_a_locked_down_kernel_is_named_and_ctnetlink_measures(net: Network) -> None:
    security = Path("/sys/kernel/security")
    if not (security / "lockdown").exists():
        subprocess.run(["mount", "-t", "securityfs", "securityfs", security], check=True)
    (security / "lockdown").write_text("confidentiality")
    assert_refused(tried(net), KPROBE, Cause.LOCKED_DOWN, "locked down")
    subprocess.run(["umount", security], check=True)  # as in a container, which cannot ask
    assert_refused(tried(net), KPROBE, Cause.LOCKED_DOWN, "locked down")
