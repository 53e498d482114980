"""Hosts that lose each other: cables pulled, one-way loss, slow links, hosts that take no connections."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster_kit import program, until
from .held import attempts, go_on, hold, outputs
from .hosts import Hosts
from .network_kit import Host, network

#: Whole clusters that die and come back, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)

#: Short, so that what happens after a lease can be waited for.
LEASE, BEAT = 6.0, 0.5


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    with network(3) as made:
        yield made


@pytest.fixture
def cluster(tmp_path: Path, hosts: list[Host]) -> Iterator[Hosts]:
    made = Hosts(tmp_path / "hosts", hosts, LEASE=LEASE, BEAT=BEAT)
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_a_cut_shorter_than_the_lease_costs_nothing(cluster: Hosts, tmp_path: Path, there: Path) -> None:
    submit = hold(cluster, there, 4, "short")
    victim = cluster.hosts[cluster.nodes[0]]
    victim.link(False)
    time.sleep(LEASE / 2)  # what is tested is that nothing happens meanwhile
    victim.link(True)
    go_on(there)
    ran = submit.wait().ok()
    assert ran.json["failures"] == []
    assert outputs(cluster, "short", 4) == [f"{part}.1" for part in range(1, 5)]


@pytest.mark.parametrize("one_way", [False, True], ids=["both ways", "from the node only"])
def test_a_node_that_is_cut_off_is_given_up_and_its_parts_run_elsewhere(
    cluster: Hosts, tmp_path: Path, there: Path, one_way: bool
) -> None:
    name = f"cut-{one_way}"
    submit = hold(cluster, there, 4, name)
    victim = cluster.hosts[cluster.nodes[0]]
    if one_way:
        victim.lose_all_to(cluster.first)
    else:
        victim.link(False)
    began = time.monotonic()
    until(lambda: cluster.node_states()[victim.address]["state"] == "lost", LEASE + 40)
    assert time.monotonic() - began >= LEASE / 2  # a busy node may not have been heard of for a while
    go_on(there)
    until(lambda: sum(each.endswith("-2") for each in attempts(there)) == 2, 60)
    ran = submit.wait().ok()
    assert {report["node"] for report in ran.json["failures"]} == {victim.address}
    done = outputs(cluster, name, 4)
    assert [each.partition(".")[0] for each in done] == ["1", "2", "3", "4"]
    assert sorted(each.partition(".")[2] for each in done) == ["1", "1", "2", "2"]
    if one_way:
        victim.reach_again(cluster.first)
    else:
        victim.link(True)
    until(lambda: cluster.node_states()[victim.address]["state"] == "live", 60)
    until(lambda: not cluster.parts(), what="late attempts have ended")
    assert outputs(cluster, name, 4) == done


def test_a_slow_link_is_slow_and_nothing_else(cluster: Hosts, tmp_path: Path) -> None:
    for address in cluster.nodes:
        cluster.hosts[address].slow_down("1mbit")
    data = os.urandom(200_000)
    main = "import pathlib; pathlib.Path('OUTPUT_PATH/copy').write_bytes(pathlib.Path('INPUT_PATH/data').read_bytes())"
    folder = program(tmp_path / "slow", main, {"INPUT_PATH/data": data})
    ran = cluster.submit(folder, "-n", 4, "--process-id", "slow").ok()
    assert ran.json["failures"] == []
    for part in range(1, 5):
        assert (cluster.here / "slow" / f"slow_{part}_4" / "copy").read_bytes() == data
    assert {node["state"] for node in cluster.node_states().values()} == {"live"}


#: Makes as many MB as its first argument says.
MAKES = """
import pathlib, random, sys
pathlib.Path("OUTPUT_PATH/made").write_bytes(random.Random(1).randbytes(int(sys.argv[4]) * 1_000_000))
"""


@pytest.mark.parametrize(
    ("megabytes", "seconds"),
    [(12, 4.0), pytest.param(100, 60.0, marks=[pytest.mark.long, pytest.mark.timeout(900)])],
)
def test_a_transfer_goes_on_after_a_cut(cluster: Hosts, tmp_path: Path, megabytes: int, seconds: float) -> None:
    """The only node's link is cut while it commits, for longer than the lease in the long case."""
    victim, other = (cluster.hosts[address] for address in cluster.nodes)
    cluster.roles[other.address].stop()
    victim.slow_down("40mbit")
    folder = program(tmp_path / "makes", MAKES)
    submit = cluster.spawn("submit", folder, "-n", 1, "--process-id", "makes", "--json", "--", megabytes)
    store = cluster.folder / "machines" / "store" / "store"
    until(lambda: sum(file.stat().st_size for file in store.rglob("*") if file.is_file()) > megabytes * 250_000, 60)
    victim.link(False)
    time.sleep(seconds)  # the cut itself
    victim.link(True)
    submit.wait(240).ok()
    made = (cluster.here / "makes" / "makes_1_1" / "made").read_bytes()
    assert len(made) == megabytes * 1_000_000
    expected = hashlib.sha256(random.Random(1).randbytes(megabytes * 1_000_000)).digest()
    assert hashlib.sha256(made).digest() == expected


def test_nodes_need_no_open_port(tmp_path: Path) -> None:
    with network(3) as hosts:
        for host in hosts[1:]:
            host.take_no_connections()
        cluster = Hosts(tmp_path / "hosts", hosts, LEASE=LEASE, BEAT=BEAT)
        try:
            cluster.start()
            main = "import sys; open('OUTPUT_PATH/n', 'w').write(sys.argv[1]); print('said')"
            ran = cluster.submit(program(tmp_path / "plain", main), "-n", 6, "--process-id", "plain").ok()
            assert len(ran.json["nodes"]) == 2
            assert "said" in cluster.cli("logs", "plain").ok().out
        finally:
            cluster.close()
