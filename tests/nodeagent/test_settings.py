# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint.commands import BadSettingError
from nodeagent.node.capacity.stated import parse_table
from nodeagent.settings import AgentSettings, parse, parse_preflight, parse_size

NODE = ["--node-name", "n1"]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AgentSettings.model_fields:
        monkeypatch.delenv(f"TRAFFIC_FOOTPRINT_{name.upper()}", raising=False)


def test_a_flag_wins_over_the_environment_which_wins_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse(NODE).hold == 1.0
    monkeypatch.setenv("TRAFFIC_FOOTPRINT_HOLD", "3")
    monkeypatch.setenv("TRAFFIC_FOOTPRINT_NODE_NAME", "from-env")
    assert parse([]).hold == 3.0
    assert parse([]).node_name == "from-env"
    assert parse(["--hold", "4", *NODE]).hold == 4.0


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAFFIC_FOOTPRINT_LINK_CAPACITY", "")
    assert parse(NODE).link_capacity is None


def test_quantities_are_read_with_their_suffixes() -> None:
    settings = parse([*NODE, "--link-capacity", "200M", "--elephant-rate", "5M", "--elephant-bytes", "1Mi"])
    assert (settings.link_capacity, settings.elephant_rate, settings.elephant_bytes) == (200e6, 5e6, 2**20)
    assert settings.flow_thresholds().elephant_rate == 5e6


def test_a_capacity_is_assumed_unless_that_is_switched_off() -> None:
    assert parse(NODE).link_capacity_assumed == 1e9
    assert parse([*NODE, "--link-capacity-assumed", "10G"]).link_capacity_assumed == 1e10
    assert parse([*NODE, "--link-capacity-assumed", "0"]).link_capacity_assumed == 0


def test_the_table_by_instance_type_keeps_its_order() -> None:
    settings = parse([*NODE, "--link-capacity-by-instance-type", "m5.large=750M, m5.*=10G"])
    rows = parse_table(settings.link_capacity_by_instance_type)
    assert [(row.pattern, row.rate) for row in rows] == [("m5.large", 750e6), ("m5.*", 1e10)]


def test_several_uplinks_are_separated_by_commas() -> None:
    assert parse([*NODE, "--uplink", "eth0,bond0.7"]).uplink == "eth0,bond0.7"


def test_the_rate_window_is_never_shorter_than_the_poll_interval() -> None:
    assert parse([*NODE, "--poll-interval", "5"]).flow_thresholds().rate_window == 5
    assert parse([*NODE, "--poll-interval", "0.2"]).flow_thresholds().rate_window == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--node-name"),
        (["--node-name", "A_B"], "--node-name"),
        ([*NODE, "--link-capacity", "200X"], "--link-capacity"),
        ([*NODE, "--link-capacity", "0"], "--link-capacity"),
        ([*NODE, "--link-capacity-assumed", "some"], "--link-capacity-assumed"),
        ([*NODE, "--link-capacity-by-instance-type", "m5.*"], "--link-capacity-by-instance-type"),
        ([*NODE, "--link-capacity-by-instance-type", "m5.*=10G,"], "--link-capacity-by-instance-type"),
        ([*NODE, "--elephant-bytes", "10 whales"], "--elephant-bytes"),
        ([*NODE, "--poll-interval", "nan"], "--poll-interval"),
        ([*NODE, "--poll-interval", "0"], "--poll-interval"),
        ([*NODE, "--deadband", "-1"], "--deadband"),
        ([*NODE, "--metrics-port", "99999"], "--metrics-port"),
        ([*NODE, "--source", "magic"], "--source"),
        ([*NODE, "--uplink", "../x"], "--uplink"),
        ([*NODE, "--uplink", "eth0,,eth1"], "--uplink"),
        ([*NODE, "--uplink", ",".join(f"eth{n}" for n in range(17))], "--uplink"),
        ([*NODE, "--log-level", "loud"], "--log-level"),
        ([*NODE, "--bogus"], "--bogus"),
        (["--node-name"], "--node-name"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_its_flag(arguments: list[str], named: str) -> None:
    with pytest.raises(BadSettingError) as caught:
        parse(arguments)
    assert named in str(caught.value)
    assert "\n" not in f"{caught.value}{caught.value.remedy}"
    assert caught.value.remedy


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in AgentSettings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("128Ki", 131072),
        ("10Mi", 10485760),
        ("10MiB", 10485760),
        ("10M", 10**7),
        ("5 kB", 5000),
        ("7B", 7),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@given(st.text(max_size=30))
def test_any_text_is_a_size_or_a_named_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_size(text) >= 0


def test_a_text_that_is_no_size_is_told_the_form() -> None:
    with pytest.raises(ValueError, match="such as 10Mi"):
        parse_size("ten")


def test_the_preflight_has_settings_of_its_own() -> None:
    assert parse_preflight(["--output", "json"]).output == "json"
    with pytest.raises(BadSettingError, match="--output"):
        parse_preflight(["--output", "xml"])
