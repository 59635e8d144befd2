# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint.keys import POD_WORKLOAD
from footprint.workload import workload_of
from footprint.workload_table import ROWS


def owned(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"name": "p", "ownerReferences": [{"kind": kind, "name": name, "controller": True}], **more}


def step(workflow: str, pod: str) -> dict[str, Any]:
    """A pod of Argo Workflows."""
    return owned("Workflow", workflow, labels={"workflows.argoproj.io/workflow": workflow}) | {"name": pod}


@pytest.mark.parametrize(
    ("metadata", "workload"),
    [
        (owned("ReplicaSet", "web-7d4b9c", labels={"pod-template-hash": "7d4b9c"}), "Deployment/web"),
        (owned("ReplicaSet", "web-7d4b9c"), "ReplicaSet/web-7d4b9c"),  # a bare ReplicaSet
        (owned("ReplicaSet", "web", labels={"pod-template-hash": "other"}), "ReplicaSet/web"),
        (owned("Job", "backup-29384756"), "CronJob/backup"),  # named by a CronJob: minutes since 1970
        (owned("Job", "backup"), "Job/backup"),
        (owned("Job", "backup-2024"), "Job/backup-2024"),
        (owned("StatefulSet", "db"), "StatefulSet/db"),
        (owned("DaemonSet", "log"), "DaemonSet/log"),
        ({"name": "alone"}, "Pod/alone"),
        ({"name": "alone-x1", "generateName": "alone-"}, "Pod/alone"),
        ({"name": "p", "ownerReferences": [{"kind": "Job", "name": "j", "controller": False}]}, "Pod/p"),
        (owned("Job", "backup", annotations={POD_WORKLOAD: "etl"}), "Workload/etl"),
        (owned("Job", "backup", annotations={POD_WORKLOAD: "not a name!"}), "Job/backup"),
        (owned("Job", "backup", annotations=None, labels=None), "Job/backup"),
        ({"name": "p", "ownerReferences": ["hostile", {"controller": True}]}, "Pod/p"),
        ({}, "Pod/"),
        # Owners as nobody is called: whoever creates a pod writes them.
        (owned("K" * 64, "x"), "Pod/p"),
        (owned("Job", "x" * 254), "Pod/p"),
        (owned("Job", "\x1b[2J"), "Pod/p"),
        (owned("[link=x]", "x"), "Pod/p"),
        (owned("Job", "a\nb"), "Pod/p"),
        (owned("Job", "a/b"), "Pod/p"),
    ],
)
def test_copies_of_one_pod_share_a_workload(metadata: dict[str, Any], workload: str) -> None:
    assert workload_of(metadata) == workload


ROLLOUT = {"app": "web", "rollouts-pod-template-hash": "6cf78c66c5"}
LWS = "leaderworkerset.sigs.k8s.io"
TRAINING = "training.kubeflow.org"


@pytest.mark.parametrize(
    ("metadata", "workload"),
    [
        # Argo Rollouts: a new revision is the same workload.
        (owned("ReplicaSet", "web-6cf78c66c5", labels=ROLLOUT), "Rollout/web"),
        (
            owned(
                "ReplicaSet", "web-5b8f7d9c4", labels={**ROLLOUT, "rollouts-pod-template-hash": "5b8f7d9c4"}
            ),
            "Rollout/web",
        ),
        (owned("ReplicaSet", "web", labels=ROLLOUT), "ReplicaSet/web"),
        # OpenKruise: pods of a CloneSet are its own; jobs started by the clock end in seconds.
        (owned("CloneSet", "web", labels={"apps.kruise.io/cloneset-instance-id": "x7k2p"}), "CloneSet/web"),
        (owned("BroadcastJob", "pull-1700000000"), "AdvancedCronJob/pull"),
        (owned("BroadcastJob", "pull"), "BroadcastJob/pull"),
        (owned("Job", "report-1700000000"), "CronJob/report"),
        # OpenShift's DeploymentConfig: a ReplicationController for each roll-out.
        (
            owned("ReplicationController", "web-3", labels={"deployment": "web-3", "deploymentconfig": "web"}),
            "DeploymentConfig/web",
        ),
        (owned("ReplicationController", "web"), "ReplicationController/web"),
        # Knative Serving: a Deployment for each Revision.
        (
            owned(
                "ReplicaSet", "hello-00007-deployment-7d4b9c",
                labels={
                    "pod-template-hash": "7d4b9c", "serving.knative.dev/service": "hello",
                    "serving.knative.dev/configuration": "hello", "serving.knative.dev/revision": "hello-00007",
                },
            ),
            "Configuration/hello",
        ),
        # Argo Workflows: WORKFLOW-TEMPLATE-HASH; the workflow by generateName, or by a CronWorkflow.
        (step("etl-x7k2p", "etl-x7k2p-extract-2694857120"), "Workflow/etl.extract"),
        (step("etl-x7k2p", "etl-x7k2p"), "Workflow/etl"),
        (step("etl-x7k2p", "etl-x7k2p-2694857120"), "Workflow/etl"),  # names of version 1
        (step("etl-1700000000", "etl-1700000000-load-data-2694857120"), "CronWorkflow/etl.load-data"),
        (owned("Workflow", "etl-x7k2p"), "Workflow/etl"),
        # Tekton: a TaskRun, and its pod, for each task of a run.
        (
            owned(
                "TaskRun", "build-run-x7k2p-compile",
                labels={
                    "tekton.dev/pipeline": "build", "tekton.dev/pipelineRun": "build-run-x7k2p",
                    "tekton.dev/pipelineTask": "compile", "tekton.dev/task": "golang-build",
                },
            ),
            "Pipeline/build.compile",
        ),
        (
            owned(  # a pipeline written into its run goes by the run's name
                "TaskRun", "release-x7k2p-push",
                labels={"tekton.dev/pipeline": "release-x7k2p", "tekton.dev/pipelineTask": "push"},
            ),
            "Pipeline/release.push",
        ),
        (owned("TaskRun", "lint-x7k2p", labels={"tekton.dev/task": "lint"}), "Task/lint"),
        (owned("TaskRun", "lint-x7k2p"), "TaskRun/lint"),
        # Spark: with its operator, on its own, and started by the clock.
        (
            owned(
                "Pod", "pi-2b1f9d8c7a6e5f40-driver",
                labels={
                    "spark-role": "executor", "spark-app-name": "pi", "spark-app-selector": "spark-2b1f9d8c",
                    "sparkoperator.k8s.io/app-name": "pi", "spark-exec-id": "3",
                },
            ),
            "SparkApplication/pi.executor",
        ),
        (
            owned(
                "SparkApplication", "pi",
                labels={"spark-role": "driver", "sparkoperator.k8s.io/app-name": "pi"},
            ),
            "SparkApplication/pi.driver",
        ),
        (
            owned("Pod", "pi-2b1f-driver", labels={"spark-role": "executor", "spark-app-name": "pi"}),
            "SparkApplication/pi.executor",
        ),
        (
            owned(
                "SparkApplication", "etl-1700000000000000000",
                labels={"spark-role": "driver", "sparkoperator.k8s.io/app-name": "etl-1700000000000000000"},
            ),
            "ScheduledSparkApplication/etl.driver",
        ),
        # Kubeflow: the training operator, the MPI operator, and the trainer, which makes JobSets.
        (
            owned(
                "PyTorchJob", "mnist",
                labels={f"{TRAINING}/job-name": "mnist", f"{TRAINING}/replica-type": "worker"},
            ),
            "PyTorchJob/mnist.worker",
        ),
        (
            owned(
                "PyTorchJob", "mnist-x7k2p",
                labels={
                    f"{TRAINING}/job-name": "mnist-x7k2p", f"{TRAINING}/replica-type": "master",
                    f"{TRAINING}/job-role": "master",
                },
            ),
            "PyTorchJob/mnist.master",
        ),
        (
            owned(
                "Job", "pi-launcher", labels={f"{TRAINING}/job-name": "pi", f"{TRAINING}/job-role": "launcher"}
            ),
            "MPIJob/pi.launcher",
        ),
        (
            owned("MPIJob", "pi", labels={f"{TRAINING}/job-name": "pi", f"{TRAINING}/job-role": "worker"}),
            "MPIJob/pi.worker",
        ),
        (
            owned(
                "Job", "llm-x7k2p-node-0",
                labels={
                    "jobset.sigs.k8s.io/jobset-name": "llm-x7k2p", "jobset.sigs.k8s.io/replicatedjob-name": "node",
                    "jobset.sigs.k8s.io/job-index": "0",
                },
            ),
            "JobSet/llm.node",
        ),
        # LeaderWorkerSet: a StatefulSet of leaders, and one of workers for each leader.
        (
            owned("StatefulSet", "vllm", labels={f"{LWS}/name": "vllm", f"{LWS}/worker-index": "0"}),
            "LeaderWorkerSet/vllm.leader",
        ),
        (
            owned("StatefulSet", "vllm-1", labels={f"{LWS}/name": "vllm", f"{LWS}/worker-index": "2"}),
            "LeaderWorkerSet/vllm.worker",
        ),
        # Volcano.
        (
            owned("Job", "train", labels={"volcano.sh/job-name": "train", "volcano.sh/task-spec": "ps"}),
            "Job/train.ps",
        ),
        # Ray: a cluster by itself, and one that a RayJob or RayService made.
        (
            owned("RayCluster", "main", labels={"ray.io/cluster": "main", "ray.io/group": "small-group"}),
            "RayCluster/main.small-group",
        ),
        (
            owned(
                "RayCluster", "serve-x7k2p", labels={"ray.io/cluster": "serve-x7k2p", "ray.io/group": "headgroup"}
            ),
            "RayCluster/serve.headgroup",
        ),
        # Airflow: nobody controls its pods.
        (
            {
                "name": "etl-load-9m2k7x4c",
                "labels": {"dag_id": "etl", "task_id": "load", "airflow_version": "2.10.3", "try_number": "1"},
            },
            "DAG/etl.load",
        ),
        ({"name": "etl-load-9m2k7x4c", "labels": {"dag_id": "etl", "task_id": "load"}}, "Pod/etl-load-9m2k7x4c"),
        # Actions Runner Controller.
        (
            owned(
                "EphemeralRunner", "build-x7k2p-runner-9m2k7",
                labels={"actions.github.com/scale-set-name": "build", "app.kubernetes.io/component": "runner"},
            ),
            "AutoscalingRunnerSet/build.runner",
        ),
        # Runs by a generated name; what people call a run stays.
        (owned("Job", "migrate-x7k2p"), "Job/migrate"),
        (owned("Job", "migrate-users"), "Job/migrate-users"),
        (owned("Job", "migrate-2024"), "Job/migrate-2024"),
        (owned("StatefulSet", "db-x7k2p"), "StatefulSet/db-x7k2p"),  # does not run once
        # Static pods: one for each node, owned by it.
        ({**owned("Node", "node1"), "name": "kube-apiserver-node1"}, "Pod/kube-apiserver"),
        # A declared workload wins over every row.
        (
            owned("CloneSet", "web", labels={"ray.io/cluster": "x"}, annotations={POD_WORKLOAD: "mine"}),
            "Workload/mine",
        ),
        # Labels are as hostile as owners.
        (owned("Job", "j", labels={"volcano.sh/job-name": "a/b", "volcano.sh/task-spec": "ps"}), "Job/j"),
        (owned("Job", "j", labels={"volcano.sh/job-name": "x" * 64, "volcano.sh/task-spec": "ps"}), "Job/j"),
        (owned("Job", "j", labels={"volcano.sh/job-name": ["x"], "volcano.sh/task-spec": "ps"}), "Job/j"),
        (owned("Job", "j", labels={"volcano.sh/job-name": "train"}), "Job/j"),  # half a row
        (owned("Job", "j", labels=["volcano.sh/job-name"]), "Job/j"),
        ({"name": "p", "labels": {f"{TRAINING}/job-name": "a", f"{TRAINING}/replica-type": "b"}}, "Pod/p"),
        ({"name": "p", "labels": {"workflows.argoproj.io/workflow": "w"}}, "Pod/p"),
        (owned("StatefulSet", "s", labels={f"{LWS}/name": "s"}), "StatefulSet/s"),
        (step("etl-x7k2p", "etl-x7k2p-\x1b[2J-2694857120"), "Workflow/etl"),
    ],
)  # fmt: skip
def test_pods_of_other_peoples_operators_are_copies_by_what_does_not_change(
    metadata: dict[str, Any], workload: str
) -> None:
    assert workload_of(metadata) == workload


def test_every_row_of_the_table_has_a_pod_above() -> None:
    """Each row gives a workload that differs from what the owner alone gives."""
    for row in ROWS:
        labels = {key: "v" for key in (row.name, row.role, row.also) if key}
        found = workload_of(owned("Owner", "o", labels=labels))
        assert found == f"{row.kind or 'Owner'}/v{'.v' if row.role else ''}", row


@given(
    st.dictionaries(
        st.sampled_from(sorted({key for row in ROWS for key in (row.name, row.role, row.also) if key})),
        st.one_of(st.text(max_size=70), st.integers(), st.none()),
    ),
    st.text(max_size=70),
)
def test_whatever_labels_say_a_workload_is_a_kind_and_a_name_of_bounded_length(
    labels: dict[str, Any], name: str
) -> None:
    found = workload_of(owned("StatefulSet", "db", labels=labels) | {"name": name})
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*/[-A-Za-z0-9_.]{1,127}", found)


def test_the_longest_names_are_told_apart_within_what_the_wire_takes() -> None:
    one, other = (workload_of(owned("StatefulSet", "x" * 252 + last)) for last in "ab")
    assert len(one) == len(other) == 253
    assert one != other
    assert workload_of(owned("StatefulSet", "x" * 241)) == "StatefulSet/" + "x" * 241
