# SPDX-License-Identifier: Apache-2.0
"""What a metric is for, and how many series it has where a program at rest does not show that.

Data for ``lab.docs.metrics``. Names are without the program's prefix.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Use(NamedTuple):
    """Of one metric."""

    text: str
    """What to do with it."""
    series: int = 0
    """At most, of one agent or extender; 0: as many as a registry with everything in it shows."""


_HEALTH: Final = Use("Grows: read the program's log, which names each.")
_INFO: Final = Use("To explain another figure; no alert.")

AGENT: Final[dict[str, Use]] = {
    "annotation_problems_total": Use("Grows: `kubectl get events` names pod and annotation."),
    "build_info": Use("Which versions, kernels and sources run; join it with others."),
    "coverage_ratio": Use("Alert: below 0.5, traffic passes by unseen."),
    "crossing_to_annotation_seconds": Use(
        "How soon the scheduler can know of an elephant. Watch the 95th percentile."
    ),
    "elephants": Use("How many now; compare nodes."),
    "elephants_begun_total": Use("Rate: how often elephants begin."),
    "event_failures_total": _HEALTH,
    "flows": Use("Load on the source."),
    "lease_failures_total": Use("Grows: this node soon counts as unknown."),
    "lease_renewals_total": Use("Stands still: this node soon counts as unknown."),
    "lease_withheld_total": Use("Grows: measuring stands still, or writes fail."),
    "link_capacity_bytes_per_second": Use("Divide by it for shares of the link."),
    "link_capacity_confidence_ratio": Use("Below 0.5, the capacity rejects no pods. State it."),
    "link_capacity_problems_total": Use("Grows: mend the Node's annotations."),
    "link_capacity_source": Use("`assumed`: state the capacity."),
    "link_carried_bytes_per_second": Use("Use of the link by all traffic."),
    "link_coverage_ratio": Use("Which of several uplinks is not seen."),
    "link_elephant_bytes_per_second": Use("Use of the link by elephants: what placement acts on."),
    "link_full": Use("1 for long: this node's mice wait."),
    "losses_total": Use("Alert: measurements are lost.", 7),
    "map_entries": Use("Divided by the next one: alert above 0.8."),
    "map_max_entries": Use("See above."),
    "metrics_port_refusals_total": Use("Grows: somebody abuses the port.", 7),
    "node_read_failures_total": Use("Grows: the API server is away, or RBAC is missing."),
    "node_write_failures_total": Use("Grows: the API server is away, or RBAC is missing."),
    "node_writes_total": Use("Rate: load on the API server, 0.1 a second at most."),
    "pod_elephant_bytes_total": Use("Which pods have elephants. Off by default."),
    "pod_info": Use("Join it by `uid` for names, workloads and classes. Off by default."),
    "pod_traffic_bytes_total": Use("Traffic of pods and workloads. Off by default."),
    "pods": Use("What kinds of pods a node has."),
    "pods_unseen": Use("Above 0: placement knows less of these pods. The log names them."),
    "pods_without_series": Use("Above 0: raise `--pod-metrics`. Off by default."),
    "poll_overruns_total": Use("Alert: readings are late."),
    "program_builds_total": Use("Which outcome a start had.", 14),
    "program_run_seconds_total": Use("Rate: processor cores that the hooks take."),
    "program_runs_total": Use("Divides the metric above: seconds a run."),
    "program_statistics_enabled": Use("0: the two metrics above stand still."),
    "read_duration_seconds": Use("Near `--poll-interval`: lengthen that."),
    "readings_corrected_total": Use("Grows: something counts twice; report it."),
    "readings_total": Use("Stands still: the agent hangs."),
    "samples_refused_total": _INFO,
    "scrape_duration_seconds": Use("Near the scrape time-out: lower `--pod-metrics`."),
    "source_changes_total": Use("Above 0: name the source with `--source`."),
    "traffic_bytes_total": Use("Rate: traffic of pods, host and the rest; `unattributed` should be small."),
    "tuning_elephants_marked": Use("How many elephants let mice pass, or would."),
    "tuning_elephants_unknown": Use("Above 0: elephants that conntrack does not know keep their place in queues."),
    "tuning_elephants_waiting": Use("Above 0 for long: raise `--tune-marks-per-second`."),
    "tuning_marks_cleared_total": _INFO,
    "tuning_marks_set_total": Use("Rate: how often the kernel is asked to mark."),
    "tuning_refusals_total": Use("Grows: `GET /tuning` and the log say why."),
    "tuning_refused": Use("1: why nothing is tuned although it is switched on.", 7),
    "tuning_state": Use("What a node does with its queues. `refused`: see the next one.", 4),
    "watch_age_seconds": Use("Above 300: new pods are not known."),
    "watch_connected": Use("0 for long: new pods are not known."),
    "watch_connects_total": Use("Rate: reconnects; one in four to eight minutes is normal."),
    "watch_errors_total": Use("Grows: the API server is away, or RBAC is missing."),
    "watch_relists_total": _INFO,
    "watch_undecodable_total": _HEALTH,
    "write_pending_seconds": Use("Alert: what is published is old."),
}

EXTENDER: Final[dict[str, Use]] = {
    "annotation_problems_total": Use("Grows: `kubectl get events` names pod and annotation.", 4),
    "build_info": Use("Which versions run; join it with others."),
    "certificate_changes_total": Use("`refused` grows: the new certificate cannot be used.", 2),
    "certificate_not_after_timestamp_seconds": Use("Alert: a certificate ends.", 2),
    "connections_refused_total": Use("Grows: a client sends too much, or too slowly.", 14),
    "demands_total": Use("From where demand is known; `unknown` should fall.", 16),
    "event_failures_total": _HEALTH,
    "events_total": Use("Grows: `kubectl get events` names each strict pod that waited too long."),
    "learning_election_errors_total": Use("Grows: RBAC on the Lease is missing."),
    "learning_leads": Use("Alert: the sum is not 1."),
    "learning_left_out": Use("Above 0: raise `--learn-capacity`."),
    "learning_malformed_total": Use("Grows: somebody wrote what cannot be read.", 2),
    "learning_objects": _INFO,
    "learning_state": Use("Not `followed`: CRD or RBAC is missing."),
    "learning_write_errors_total": Use("Grows: RBAC is missing, or the API server is away.", 10),
    "learning_writes_total": Use("Rate: load on the API server.", 3),
    "rebalance_doubts_total": Use("Grows: RBAC is missing, or pods have constraints that are not evaluated."),
    "rebalance_election_errors_total": Use("Grows: RBAC on the Lease is missing."),
    "rebalance_event_failures_total": Use("Grows: RBAC on Events is missing."),
    "rebalance_gain": _INFO,
    "rebalance_leads": Use("Alert: the sum is not 1 while `--rebalance` is on."),
    "rebalance_misplaced_pods": Use("Stays high: see `rebalance_refused_pods`."),
    "rebalance_moves_total": Use("Rate of `evicted`: restarts. `failed` grows: read the log."),
    "rebalance_refused_pods": Use("Says what keeps pods where they are."),
    "rebalance_stopped": Use("1: the log says why."),
    "rebalance_troubled_nodes": _INFO,
    "malformed_footprints_total": Use("Alert: an agent of another version, or a stranger, wrote a Node.", 6),
    "malformed_requests_total": Use("Grows: no kube-scheduler asks.", 20),
    "node_failures_total": Use("Grows: report it with the log."),
    "nodes": Use("Alert: nodes of which nothing is known."),
    "page_decisions_without_details_total": Use("Grows: decisions came faster than their reasons were read."),
    "page_dropped_readers_total": Use("Grows: too many people look, or a network is slow.", 2),
    "page_failures_total": Use("Grows: report it with the log."),
    "page_history_bytes": Use("What the last hour takes.", 2),
    "page_merged_events_total": _INFO,
    "page_readers": Use("Who looks at the live page now."),
    "page_reloads_total": _INFO,
    "pods_predicted": Use("Pods that count by prediction until they are measured."),
    "pods_waiting": Use("High for long: look at the scheduler's own metrics."),
    "rejected_nodes_total": Use("Rate: how much placement filters.", 4),
    "relaxed_requests_total": Use("Grows: `strict` pods find no suitable node."),
    "request_duration_seconds": Use("Alert: 99th percentile near `--deadline`.", 39),
    "requests_total": Use("Alert: `failed`, `late` or `shed` means that requests fail open.", 27),
    "scrape_duration_seconds": Use("While it lasts, requests wait."),
    "server_warnings_total": _HEALTH._replace(series=4),
    "shadow_collisions_total": Use("What acting would have avoided. Shadow mode alone.", 8),
    "shadow_pods_total": Use("What acting would have changed. Shadow mode alone.", 6),
    "watch_age_seconds": Use("Alert: the picture of the cluster is old."),
    "watch_connected": Use("0 for long: the picture of the cluster is old."),
    "watch_connects_total": Use("Rate: reconnects; one in four to eight minutes is normal."),
    "watch_errors_total": Use("Grows: the API server is away, or RBAC is missing."),
    "watch_relists_total": Use("Grows fast: the API server's history is short; memory and time are spent."),
    "watch_undecodable_total": _HEALTH,
    "workloads": Use("How much was learned."),
}
