"""Bad ways between a node and its master and store: slow, half open, damaged, repeated, in the wrong order, cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.interfaces.transport import Address
from discomputify_testkit.relay import Relay

from .cluster_kit import MASTER, NODES, QUERY, STORE, Cluster, program, until
from .conftest import MakeCluster
from .held import attempts, go_on, hold, outputs

#: Whole clusters that die and come back, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)

NODE = NODES[0]
#: Reads its inputs, and writes some of them out.
COPIES = """
import pathlib, sys
data = pathlib.Path("INPUT_PATH/data").read_bytes()
pathlib.Path("OUTPUT_PATH/copy").write_bytes(data[: int(sys.argv[1]) * 1000])
"""


class Ways:
    """The relays between the one node of *cluster* and its master, store and query service."""

    def __init__(self, cluster: Cluster, stack: ExitStack) -> None:
        port = cluster.common["MASTER_PORT"]
        self.master, self.store, self.query = (
            stack.enter_context(Relay(Address(host, port))) for host in (MASTER, STORE, QUERY)
        )
        self.all = (self.master, self.store, self.query)

    @property
    def keys(self) -> dict[str, Any]:
        """What leads the node through them."""
        services = {"MASTER": self.master, "FTP": self.store, "QUERY": self.query}
        hosts = {f"{name}_NODE": relay.address.host for name, relay in services.items()}
        return {**hosts, **{f"{name}_PORT": relay.address.port for name, relay in services.items()}}


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    made = make_cluster(NODE)
    made.start_store()
    made.start_master()
    return made


@pytest.fixture
def ways(cluster: Cluster) -> Iterator[Ways]:
    with ExitStack() as stack:
        made = Ways(cluster, stack)
        cluster.start_node(NODE, **made.keys)
        yield made


def copied(cluster: Cluster, name: str, parts: int) -> list[int]:
    home = cluster.here / name
    return [(home / f"{name}_{part}_{parts}" / "copy").stat().st_size for part in range(1, parts + 1)]


def test_a_way_that_takes_long_takes_longer_and_nothing_else(cluster: Cluster, ways: Ways, tmp_path: Path) -> None:
    for each in ways.all:
        each.delay(0.2)
    folder = program(tmp_path / "copies", COPIES, {"INPUT_PATH/data": bytes(100_000)})
    ran = cluster.submit(folder, "-n", 4, "--process-id", "long").ok()
    assert ran.json["failures"] == []
    assert copied(cluster, "long", 4) == [1000, 2000, 3000, 4000]


FAULTS: dict[str, Callable[[Relay], None]] = {
    "damage": lambda relay: relay.damage(2),
    "repeat": lambda relay: relay.repeat(2),
    "swap": lambda relay: relay.swap(2),
    "cut": lambda relay: relay.cut(),
}


@pytest.mark.parametrize(
    "fault",
    # Those that leave an end waiting for bytes that do not come take long to be noticed.
    [pytest.param(fault, marks=[pytest.mark.long] if fault in ("damage", "swap") else []) for fault in FAULTS],
)
def test_what_happens_on_the_way_costs_no_attempt(cluster: Cluster, ways: Ways, there: Path, fault: str) -> None:
    submit = hold(cluster, there, 6, fault, begun=2)
    for relay in ways.all:
        FAULTS[fault](relay)
    go_on(there)
    until(lambda: len(attempts(there)) >= 4, 60)
    for relay in ways.all:
        FAULTS[fault](relay)
    ran = submit.wait().ok()
    done = outputs(cluster, fault, 6)
    assert [each.partition(".")[0] for each in done] == ["1", "2", "3", "4", "5", "6"]
    if fault == "swap":  # dialling fails for longer than a node that is alive needs to be back
        assert {report["end"] for report in ran.json["failures"]} <= {"lost"}
        return
    assert ran.json["failures"] == []
    # An order that did not arrive was not begun: each part has run once, be it as its first attempt or a later one.
    assert attempts(there) == [each.replace(".", "-") for each in done]


@pytest.mark.parametrize("way", ["there", "back"])
def test_half_open_ways_for_less_than_the_lease(cluster: Cluster, ways: Ways, there: Path, way: str) -> None:
    submit = hold(cluster, there, 4, f"half-{way}", begun=2)
    for relay in ways.all:
        relay.stall(way)
    go_on(there)
    time.sleep(4.0)  # the stall itself
    for relay in ways.all:
        relay.flow(way)
    ran = submit.wait().ok()
    assert ran.json["failures"] == []
    assert outputs(cluster, f"half-{way}", 4) == [f"{part}.1" for part in range(1, 5)]
    assert len(attempts(there)) == 4


def committed(cluster: Cluster, name: str) -> int:
    """How many attempts of a job have their outputs in the store."""
    return len(list((cluster.folder / "machines" / "store" / "store" / "jobs" / name).glob(f"{name}.*")))


def test_the_master_dies_before_it_hears_of_a_commit(cluster: Cluster, ways: Ways, there: Path) -> None:
    submit = hold(cluster, there, 2, "unheard")
    ways.master.stall("there")
    go_on(there)
    until(lambda: committed(cluster, "unheard") == 2, what="both outputs are in the store")
    cluster.roles["master_node"].kill()
    ways.master.flow("there")
    cluster.start_again("master_node")
    ran = submit.wait().ok()
    assert ran.json["failures"] == []
    assert outputs(cluster, "unheard", 2) == ["1.1", "2.1"]
    assert len(attempts(there)) == 2


def test_the_master_dies_before_its_acknowledgement_arrives(cluster: Cluster, ways: Ways, there: Path) -> None:
    submit = hold(cluster, there, 2, "unsaid")
    until(lambda: cluster.status("unsaid")["parts"]["running"] == 2)
    # Accepted once all before it is written down: the node has been told by then that its parts are known to run.
    cluster.submit(there / "program-unsaid", "-n", 1, "--process-id", "behind", "--detach").ok()
    ways.master.stall("back")
    go_on(there)
    until(
        lambda: cluster.status("unsaid")["parts"]["done"] >= 1, what="the master has written down that a part is done"
    )
    cluster.roles["master_node"].kill()
    ways.master.flow("back")
    cluster.start_again("master_node")
    assert submit.wait().ok().json["failures"] == []
    status = cluster.status("unsaid")
    assert (status["parts"]["done"], status["nodes"]) == (2, {NODE: 2})
    assert outputs(cluster, "unsaid", 2) == ["1.1", "2.1"]
    assert len(attempts(there)) == 2
