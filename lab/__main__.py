# SPDX-License-Identifier: Apache-2.0
"""``python -m lab``: a cluster to play with, until Ctrl-C; a list of labs; cleaning up after crashed ones."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from footprint.cluster.client import ApiError, ClusterConfigError
from footprint.service import EXIT_USAGE
from lab import manifests, preconditions, state
from lab.errors import LabError
from lab.lab import Lab, LabConfig
from lab.network import conntrack_table
from lab.nodes.real import files
from lab.nodes.real.cluster import RealLab
from lab.nodes.real.network import NETWORKS
from lab.signals import signals_end

_WATCH_SECONDS: Final = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand. Returns the exit status: 0, or 2 with one line on stderr that names the remedy."""
    options = _parser().parse_args(argv)
    try:
        with signals_end():
            return int(options.run(options))
    except (LabError, ApiError, ClusterConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return 130


def _up(options: argparse.Namespace) -> int:
    config = LabConfig(nodes=options.nodes, link=options.link, extender=options.extender, agents=options.agents)
    if options.vm and not options.real:
        raise LabError("--vm adds nodes to real ones; give --real too")
    began = time.monotonic()
    with (
        RealLab(config, proxy_mode=options.proxy_mode, network=options.network, vms=options.vm)
        if options.real
        else Lab(config) as lab
    ):
        print(_welcome(lab, time.monotonic() - began), flush=True)
        reported: set[str] = set()
        try:
            while True:
                for name in set(lab.ended()) - reported:
                    print(f"warning: {name} has ended; see {lab.logs(name)}", file=sys.stderr, flush=True)
                    reported.add(name)
                time.sleep(_WATCH_SECONDS)
        except KeyboardInterrupt:
            _say_goodbye()
        except SystemExit:
            _say_goodbye()
            raise
    return 0


def _say_goodbye() -> None:
    with suppress(OSError):  # after SIGHUP there may be no terminal
        print("\nremoving the lab", flush=True)


def _welcome(lab: Lab, seconds: float) -> str:
    kubectl = f"ip netns exec {lab.cp_namespace} {lab.kubectl_path} --kubeconfig {lab.kubeconfig}"
    return (
        f"lab {lab.id}: {len(lab.node_names)} nodes with {lab.config.link} links, up in {seconds:.1f} s\n\n"
        f"  kubectl:    {kubectl} get nodes\n"
        f"{_chart(lab) if isinstance(lab, RealLab) else ''}"
        f"  logs:       {lab.dir}/logs\n"
        f"  a node:     ip netns exec {lab.cp_namespace.removesuffix('cp')}{lab.node_names[0]} bash\n"
        f"  a host outside the cluster: ip netns exec {lab.cp_namespace.removesuffix('cp')}outside bash\n\n"
        "Ctrl-C removes it."
    )


def _chart(lab: RealLab) -> str:
    """How an operator installs the product there: real nodes come without it."""
    helm = f"ip netns exec {lab.cp_namespace} {lab.helm_path} --kubeconfig {lab.kubeconfig}"
    return (
        f"  the chart:  {helm} install traffic-footprint \\\n"
        f"                {manifests.CHART} --namespace traffic-footprint --create-namespace\n"
    )


def _clean(_options: argparse.Namespace) -> int:
    preconditions.check()
    cleaned = state.clean_leftovers()
    conntrack_table.restore(state.ROOT, state.any_live)
    print(f"removed what was left of: {', '.join(cleaned)}" if cleaned else "nothing was left behind")
    return 0


def _list(_options: argparse.Namespace) -> int:
    preconditions.check()
    labs = state.entries()
    for lab in labs:
        print(f"{lab.id}  {'running' if lab.live else 'crashed (python -m lab clean)'}  {lab.dir}")
    if not labs:
        print("no labs")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab",
        description="A Kubernetes cluster on this machine: a real control plane, nodes as network namespaces with "
        "shaped links. Needs root.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start a lab and keep it until Ctrl-C")
    up.add_argument(
        "--nodes", type=int, default=LabConfig.nodes, metavar="N", help="how many nodes (default: %(default)s)"
    )
    up.add_argument(
        "--link", default=LabConfig.link, metavar="RATE",
        help="capacity of each node's uplink, bit/s with a suffix (default: %(default)s)",
    )  # fmt: skip
    up.add_argument("--no-extender", dest="extender", action="store_false", help="leave kube-scheduler as it is")
    up.add_argument("--no-agents", dest="agents", action="store_false", help="measure nothing")
    up.add_argument(
        "--real", action="store_true",
        help="real nodes: kubelet, containerd and kube-proxy, with a registry and CoreDNS; the chart is yours to "
        "install. Their programs are built once, 9 minutes on two cores",
    )  # fmt: skip
    up.add_argument(
        "--proxy-mode", choices=files.PROXY_MODES, default=files.PROXY_MODES[0],
        help="kube-proxy's, on real nodes (default: %(default)s); ipvs needs --vm, and only the "
        "last virtual machine has it: the other nodes have the default then",
    )  # fmt: skip
    up.add_argument(
        "--network", choices=NETWORKS, default=NETWORKS[0],
        help="how real nodes carry pods' packets to each other: routed, over IPv4 in a VXLAN tunnel, or by "
        "kube-router (default: %(default)s)",
    )  # fmt: skip
    up.add_argument(
        "--vm",
        action="append",
        default=[],
        metavar="KERNEL",
        help="one more real node, in a virtual machine with Debian's kernel 6.1 or 6.12; twice at most",
    )
    up.set_defaults(run=_up)
    clean = commands.add_parser("clean", help="remove what crashed labs left behind; running ones are not touched")
    clean.set_defaults(run=_clean)
    listing = commands.add_parser("list", help="show the labs on this machine")
    listing.set_defaults(run=_list)
    return parser


if __name__ == "__main__":
    sys.exit(main())
