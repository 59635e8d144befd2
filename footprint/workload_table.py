# SPDX-License-Identifier: Apache-2.0
"""Operators whose pods the rule of ``footprint.workload`` cannot assign to a workload, and the labels that can.

The rule fails in two cases. The owner's name may change at each run or revision, without a part that stays. Or one
owner has pods that do different work, such as drivers and executors.

Enters: a pod's labels, its controlling owner and its name. Leaves: kind, name and role (which may be empty), or
None when no row fits. A row fits when all of its labels are there with values that Kubernetes takes.

The labels are those that the operators document. ``tests/footprint/test_workload.py`` has a pod of
each row. To add an operator, add a row and a pod.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_VALUE: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_STEP: Final = re.compile(r"-\d{6,10}$")
"""The hash at the end of an Argo Workflows pod's name."""


@dataclass(frozen=True, slots=True)
class Row:
    """``name`` and ``role`` are keys of labels. An empty ``kind`` is the owner's kind."""

    kind: str
    name: str
    role: str = ""
    also: str = ""
    """A label that must be there as well."""


ROWS: Final = (
    # Knative: a ReplicaSet of a Deployment of a Revision; a new Revision for each change.
    Row("Configuration", "serving.knative.dev/configuration"),
    # OpenShift: a ReplicationController for each roll-out of a DeploymentConfig.
    Row("DeploymentConfig", "deploymentconfig", also="deployment"),
    # Spark: executors are owned by the driver's pod, whose name is new at each run.
    Row("SparkApplication", "sparkoperator.k8s.io/app-name", role="spark-role"),
    Row("SparkApplication", "spark-app-name", role="spark-role"),
    # Kubeflow's training operator (PyTorchJob, TFJob, MPIJob, XGBoostJob): one job, several roles.
    Row("", "training.kubeflow.org/job-name", role="training.kubeflow.org/replica-type"),
    # Kubeflow's MPI operator (v2): the launcher is owned by a Job of its own.
    Row("MPIJob", "training.kubeflow.org/job-name", role="training.kubeflow.org/job-role"),
    # JobSet, and Kubeflow's trainer (v2), which makes JobSets: one Job for each role and index.
    Row("JobSet", "jobset.sigs.k8s.io/jobset-name", role="jobset.sigs.k8s.io/replicatedjob-name"),
    # Volcano: one Job, several tasks.
    Row("Job", "volcano.sh/job-name", role="volcano.sh/task-spec"),
    # Ray: a RayCluster with a generated name for each RayJob, and for each change of a RayService.
    Row("RayCluster", "ray.io/cluster", role="ray.io/group"),
    # Tekton: a TaskRun with a generated name for each task of a run.
    Row("Pipeline", "tekton.dev/pipeline", role="tekton.dev/pipelineTask"),
    Row("Task", "tekton.dev/task"),
    # Airflow: a pod of its own for each try of a task.
    Row("DAG", "dag_id", role="task_id", also="airflow_version"),
    # Actions Runner Controller: an EphemeralRunner with a generated name for each job.
    Row("AutoscalingRunnerSet", "actions.github.com/scale-set-name", role="app.kubernetes.io/component"),
)


def by_labels(labels: Mapping[str, Any], owner: tuple[str, str] | None, pod: str) -> tuple[str, str, str] | None:
    """Kind, name and role by the first row that fits; None when none does."""
    for row in ROWS:
        if row.name in labels:
            kind = row.kind or (owner[0] if owner else "")
            name, role = _value(labels, row.name), _value(labels, row.role)
            if kind and name and (role or not row.role) and (not row.also or _value(labels, row.also)):
                return kind, name, role
    if "leaderworkerset.sigs.k8s.io/name" in labels:
        return _leader_or_worker(labels)
    if "workflows.argoproj.io/workflow" in labels:
        return _step(labels, owner, pod)
    return None


def _leader_or_worker(labels: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """LeaderWorkerSet: leaders are of one StatefulSet, workers of one more for each group. Index 0 leads."""
    name, index = (_value(labels, f"leaderworkerset.sigs.k8s.io/{what}") for what in ("name", "worker-index"))
    return ("LeaderWorkerSet", name, "leader" if index == "0" else "worker") if name and index else None


def _step(labels: Mapping[str, Any], owner: tuple[str, str] | None, pod: str) -> tuple[str, str, str] | None:
    """Argo Workflows: pods are called WORKFLOW-TEMPLATE-HASH, and no label names the template."""
    name = _value(labels, "workflows.argoproj.io/workflow")
    if not name or owner is None or owner[0] != "Workflow":
        return None
    step = _STEP.sub("", pod.removeprefix(f"{name}-")) if pod.startswith(f"{name}-") else ""
    return "Workflow", name, step if _VALUE.fullmatch(step) and not step.isdigit() else ""


def _value(labels: Mapping[str, Any], key: str) -> str:
    """A label's value, or nothing: whoever may create pods writes there what they like."""
    value = labels.get(key)
    return value if isinstance(value, str) and _VALUE.fullmatch(value) else ""
