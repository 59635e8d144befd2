# SPDX-License-Identifier: Apache-2.0
"""Series of single pods, for operators who want them: none by default, and never more than they say.

Enters: a reading's owners, this node's pods, the footprint. Leaves: metric families. Guarantees: at most ``most``
pods, those that carried most; how many were left out is a metric. Label names differ from the ``pod`` and
``namespace`` that Prometheus gives every target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import nlargest

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from footprint.models import NodeFootprint
from nodeagent.node.pods import LocalPod
from nodeagent.sources.base import NO_PODS, Counters


def pod_families(
    prefix: str,
    owners: Mapping[str, Counters],
    pods: Mapping[str, LocalPod],
    footprint: NodeFootprint | None,
    most: int,
) -> Iterator[Metric]:
    """Of the ``most`` pods that carried most."""
    measured = [uid for uid in owners if uid not in NO_PODS]
    shown = nlargest(most, measured, key=lambda uid: _weight(owners[uid]))
    classes = {pod.uid: pod.cls for pod in footprint.pods} if footprint else {}
    info = GaugeMetricFamily(
        prefix + "pod_info",
        "1: a pod's name, workload and class, to be joined with the others by uid.",
        labels=["uid", "pod_namespace", "pod_name", "workload", "class"],
    )
    carried = CounterMetricFamily(
        prefix + "pod_traffic_bytes",
        "IP bytes of a pod: over the link (tx, rx), or node-internal (local).",
        labels=["uid", "direction"],
    )
    elephants = CounterMetricFamily(
        prefix + "pod_elephant_bytes",
        "The part of a pod's bytes over the link that its elephants carried.",
        labels=["uid", "direction"],
    )
    for uid in shown:
        counters, pod = owners[uid], pods.get(uid)
        carried.add_metric([uid, "tx"], counters.tx_bytes)
        carried.add_metric([uid, "rx"], counters.rx_bytes)
        carried.add_metric([uid, "local"], counters.local_bytes)
        elephants.add_metric([uid, "tx"], counters.tx_elephant_bytes)
        elephants.add_metric([uid, "rx"], counters.rx_elephant_bytes)
        if pod is not None:
            cls = classes[uid].value if uid in classes else "unknown"
            info.add_metric([uid, pod.ns, pod.name, pod.workload, cls], 1)
    left_out = GaugeMetricFamily(
        prefix + "pods_without_series",
        "Pods with traffic that have no series of their own, because there are more than --pod-metrics.",
        value=len(measured) - len(shown),
    )
    yield from (info, carried, elephants, left_out)


def _weight(counters: Counters) -> int:
    return counters.tx_bytes + counters.rx_bytes + counters.local_bytes
