# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from footprint.keys import POD_CLASS, POD_WORKLOAD
from lab.bench.scheduler.real import results, workloads
from lab.bench.scheduler.real.results import Latency, Turn

REDIS = (
    '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms",'
    '"max_latency_ms"\n"GET","11111.11","0.074","0.016","0.031","0.063","{p99}","2.767"\n'
)
WRK = """Running 5s test @ http://10.244.1.5:8080/
  1 threads and 1 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   615.03us  301.71us   3.46ms   92.44%
    Req/Sec    46.70      4.75    50.00     70.00%
  Latency Distribution
     50%  {p50}
     75%  640.00us
     90%  812.00us
     99%    2.16ms
  233 requests in 5.01s, 193.20KB read
"""
IPERF = """1796072967 [  5] local 127.0.0.1 port 5999 connected to 127.0.0.1 port 54290
1796072968 [ ID] Interval           Transfer     Bitrate
1796072968 [  5]   0.00-1.00   sec  23.8 MBytes  199209 Kbits/sec                  \n\
1796072969 [  5]   1.00-2.03   sec  23.9 MBytes  193932 Kbits/sec                  \n\
1796072970 [  5]   2.03-3.00   sec   999 KBytes  206996 Kbits/sec                  \n\
1796072971 [  5]   0.00-3.00   sec  83.1 MBytes  232405 Kbits/sec                  receiver
"""


def test_redis_benchmarks_figures_are_the_medians_of_its_runs() -> None:
    runs = [REDIS.format(p99=p99) for p99 in ("1.7", "0.4", "9.0")]
    assert results.redis(runs) == Latency(0.031, 1.7)


@pytest.mark.parametrize(
    ("text", "p50"), [("615.00us", 0.615), ("61.50ms", 61.5), ("1.25s", 1250), ("1.00m", 60000)]
)
def test_wrks_latencies_are_read_in_every_unit(text: str, p50: float) -> None:
    assert results.wrk(WRK.format(p50=text)) == Latency(p50, 2.16)


def test_goodput_is_the_mean_of_the_seconds_in_between() -> None:
    assert results.goodput(IPERF, 1796072968, 1796072969) == pytest.approx((199209 + 193932) / 2 * 1e3)
    assert results.goodput(IPERF, 1796072970, 1796072980) == 206996e3, "the receiver's sum is no second"


def test_programs_that_printed_no_figures_are_no_rows_of_zeros() -> None:
    for read in (
        lambda: results.redis([""]),
        lambda: results.wrk("unable to connect to 10.244.1.5:8080 Connection refused"),
        lambda: results.wrk(WRK.format(p50="soon")),
        lambda: results.goodput(IPERF, 0, 10),
    ):
        with pytest.raises(ValueError, match=r"no |nothing"):
            read()


def test_a_node_with_both_kinds_is_mixed() -> None:
    turn = Turn("s", {"a": "node1", "b": "node2"}, {"bulk-0": "node2", "bulk-1": "node3"}, {}, ())
    assert turn.mixed == {"node2"}


def test_the_table_has_a_column_for_each_scheduler() -> None:
    turns = {
        name: [Turn(name, {}, {}, {"web": Latency(1, p99)}, goodputs) for p99 in (4, 2, 3)]
        for name, goodputs in (("none", ()), ("two", (2e8, 1e8)))
    }
    table = results.table(turns)
    assert [column.header for column in table.columns] == ["", "none", "two"]
    _, none, two = (list(column.cells) for column in table.columns)
    assert none[:2] == two[:2] == ["1.00 ms (1.00 to 1.00)", "3.00 ms (2.00 to 4.00)"]
    assert (none[2], two[2]) == ("0 Mbit/s (0 to 0)", "300 Mbit/s (300 to 300)")
    assert table.row_count == 2 + 1 + 1


def test_of_one_turn_there_is_no_spread() -> None:
    table = results.table({"one": [Turn("one", {}, {}, {"web": Latency(1, 2)}, (2e8,))]})
    assert list(table.columns[1].cells) == ["1.00 ms", "2.00 ms", "200 Mbit/s", "0"]


def test_mice_are_declared_and_elephants_are_known_by_their_workload_alone() -> None:
    mice = workloads.deployment(workloads.WEB, "ns", "mine", 2)["spec"]["template"]
    assert mice["metadata"]["annotations"] == {POD_CLASS: "mouse"}
    pods = [workloads.bulk(number, "ns", "mine") for number in range(2)]
    assert [pod["metadata"]["annotations"] for pod in pods] == [{POD_WORKLOAD: "bulk"}] * 2
    assert {p["spec"]["schedulerName"] for p in (*pods, mice)} == {"mine"}
    ports = {pod["spec"]["containers"][0]["command"][4] for pod in pods}
    assert len(ports) == 2, "an iperf3 server serves one client"


def test_pods_that_are_not_placed_or_are_going_have_no_place() -> None:
    labels = {workloads.KIND_LABEL: workloads.MOUSE}
    placed = {"metadata": {"name": "a", "labels": labels}, "spec": {"nodeName": "node1"}}
    waiting = {"metadata": {"name": "b", "labels": labels}, "spec": {}}
    going = {**placed, "metadata": {"name": "c", "labels": labels, "deletionTimestamp": "now"}}
    assert workloads.places([placed, waiting, going], workloads.MOUSE) == {"a": "node1"}
    assert workloads.places([placed], workloads.ELEPHANT) == {}
