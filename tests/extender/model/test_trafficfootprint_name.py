# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.model.trafficfootprint_name import MAX_LENGTH, draw, nameable, object_name, valid_workload

DNS_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@pytest.mark.parametrize(
    ("workload", "start"),
    [
        ("Deployment/web", "deployment-web-"),
        ("CronJob/nightly.backup_2", "cronjob-nightly-backup-2-"),
        ("Workload/A.B", "workload-a-b-"),
        ("Job/" + "x" * 250, "job-" + "x" * 48 + "-"),
        ("///", "w-"),
    ],
)
def test_a_name_says_which_workload_it_is(workload: str, start: str) -> None:
    assert object_name(workload).startswith(start)


def test_a_name_never_changes_between_releases() -> None:
    assert object_name("CronJob/backup") == "cronjob-backup-ef0f7b2fd7"


@given(st.text(max_size=400))
def test_every_name_is_a_valid_one(workload: str) -> None:
    name = object_name(workload)
    assert DNS_1123.fullmatch(name)
    assert len(name) <= MAX_LENGTH


@given(st.text(max_size=300), st.text(max_size=300))
def test_different_workloads_have_different_names(one: str, other: str) -> None:
    assert (object_name(one) == object_name(other)) is (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Deployment/web", "deployment/web"),
        ("Workload/a.b", "Workload/a-b"),
        ("Job/" + "x" * 100, "Job/" + "x" * 101),
    ],
)
def test_workloads_that_read_alike_are_told_apart(one: str, other: str) -> None:
    assert object_name(one) != object_name(other)


@pytest.mark.parametrize(
    ("namespace", "workload", "fits"),
    [
        ("shop", "Deployment/web", True),
        ("shop", "Rollout/a.b_c", True),
        ("shop", "Deployment/" + "x" * 253, True),
        ("shop", "Deployment/" + "x" * 254, False),
        ("shop", "Deployment", False),
        ("shop", "Deployment/", False),
        ("shop", "Deployment/web/status", False),
        ("shop", "Deployment/..", False),
        ("../kube-system", "Deployment/web", False),
        ("", "Deployment/web", False),
        ("Shop", "Deployment/web", False),
        ("x" * 64, "Deployment/web", False),
        ("shop", "Deployment/web\n", False),
        ("shop\n", "Deployment/web", False),
    ],
)
def test_only_workloads_that_an_object_can_stand_for_are_named(namespace: str, workload: str, fits: bool) -> None:
    assert nameable((namespace, workload)) is fits


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_draw_is_the_workloads_own_and_below_one(namespace: str, workload: str) -> None:
    assert 0 <= draw((namespace, workload)) < 1
    assert draw((namespace, workload)) == draw((namespace, workload))


@given(st.text())
def test_any_text_can_be_asked_about(text: str) -> None:
    assert valid_workload(text) in (True, False)
