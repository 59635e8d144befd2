# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.nodes``: one process that plays the kubelet and kube-proxy of all nodes of a lab.

Enters: the lab's id and folder, an administrator's kubeconfig, a file of node descriptions. Runs in the control
plane's namespace until SIGTERM. Guarantees: it then stops every pod's process and removes its namespace.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from kubernetes.client import ApiClient

from footprint.cluster.client import ClusterConfigError, connect
from footprint.cluster.reflector import Reflector
from footprint.service import configure_logging, fail, stop_on_signals
from lab.errors import LabError
from lab.network import netns
from lab.network.services import ClusterService, EndpointSlice, service_of, slice_of
from lab.nodes.plan import PodPlan, plan_of
from lab.nodes.pods import PodDispatcher
from lab.nodes.registration import NodeDescription, Registrar
from lab.nodes.runtime import PodRuntime
from lab.nodes.services import ServiceProxy
from lab.nodes.worker import PodWorker

SHUT_DOWN_SECONDS: Final = 8.0
STACK_BYTES: Final = 512 * 1024
"""Of each pod's thread; the default of 8 MiB would count against limits on address space."""

_log = structlog.get_logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 after SIGTERM, 1 when a pod could not be stopped, 2 for arguments it cannot use."""
    options = _arguments(argv)
    configure_logging("text", options.log_level)
    try:
        nodes = read_nodes(options.nodes)
        _check_namespaces(options.lab_id, nodes)
        api = connect(str(options.kubeconfig), user_agent="lab-nodes")
    except ClusterConfigError as error:
        fail(str(error), "use the lab's admin kubeconfig")
    except LabError as error:
        fail(str(error), "start the lab with `python -m lab`")
    stop = stop_on_signals()
    threading.stack_size(STACK_BYTES)
    return _serve(options, api, {node.name: node for node in nodes}, stop)


def read_nodes(path: Path) -> list[NodeDescription]:
    """The nodes of ``nodes.json``. Raises LabError naming what is wrong with it."""
    try:
        raw: list[dict[str, Any]] = json.loads(path.read_text())
        return [NodeDescription(**entry) for entry in raw]
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise LabError(f"{path} is not a list of nodes with name, index, link, cpu, memory: {error}") from error


def _serve(
    options: argparse.Namespace, api: ApiClient, nodes: dict[str, NodeDescription], stop: threading.Event
) -> int:
    runtime = PodRuntime(options.lab_id, options.dir, nodes)
    proxy = ServiceProxy([runtime.node_namespace(name) for name in nodes])
    pods = PodDispatcher(lambda plan: PodWorker(api, runtime, plan))

    def mine(raw: dict[str, Any]) -> PodPlan | None:
        return plan_of(raw) if (raw.get("spec") or {}).get("nodeName") in nodes else None

    bound = {"fieldSelector": "spec.nodeName!="}
    watches: list[Reflector[Any]] = [
        Reflector[PodPlan](api, "/api/v1/pods", decode=mine, sink=pods, query=bound),
        Reflector[ClusterService](api, "/api/v1/services", decode=service_of, sink=proxy.services),
        Reflector[EndpointSlice](
            api, "/apis/discovery.k8s.io/v1/endpointslices", decode=slice_of, sink=proxy.slices
        ),
    ]
    threads = [watch.start(stop) for watch in watches]
    for run in (Registrar(api, list(nodes.values())).run, proxy.run):
        threads.append(threading.Thread(target=run, args=(stop,), daemon=True))
        threads[-1].start()
    _log.info("nodes run", nodes=list(nodes))
    stop.wait()
    proxy.wake()
    for watch in watches:
        watch.interrupt()
    for thread in threads:
        thread.join(1.0)
    clean = pods.shut_down(SHUT_DOWN_SECONDS)
    _log.info("nodes stopped", every_pod_stopped=clean)
    return 0 if clean else 1


def _check_namespaces(lab_id: str, nodes: Sequence[NodeDescription]) -> None:
    missing = [node.name for node in nodes if not netns.exists(f"tf-{lab_id}-{node.name}")]
    if missing:
        raise LabError(f"lab {lab_id} has no network namespace for {', '.join(missing)}")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab.nodes", description="Plays all nodes of a lab.")
    parser.add_argument("--lab-id", required=True, type=_lab_id)
    parser.add_argument("--dir", required=True, type=Path, help="the lab's directory; logs go to DIR/pods/")
    parser.add_argument("--kubeconfig", required=True, type=Path)
    parser.add_argument("--nodes", required=True, type=Path, help="JSON list of name, index, link, cpu, memory")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser.parse_args(argv)


def _lab_id(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]{1,16}", text):
        raise argparse.ArgumentTypeError("1 to 16 lower-case letters and digits")
    return text


if __name__ == "__main__":
    sys.exit(main())
