"""Nodes that are not given work: drained, set aside, paused, away; and when all are gone at once."""

from __future__ import annotations

from discomputify_core.cluster import report, saving, why
from discomputify_core.cluster.machine import Cluster
from discomputify_core.model import events as ev
from discomputify_core.model.commands import CheckTree, ClearMemory, ClearStore, StartPart
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import End, JobSpec
from discomputify_core.model.memory import Scope
from discomputify_core.model.node import NodeLoad, NodeStatus
from discomputify_core.plugins.fifo import Fifo

from .test_machine import DIGEST, JOB, Driver, facts


def shown(driver: Driver, name: str = "one") -> NodeStatus:
    return next(node for node in report.node_statuses(driver.cluster.state) if node.name == name)


def test_a_drained_node_finishes_and_takes_no_more_until_that_is_undone() -> None:
    driver = Driver(facts("one", 1))
    driver.submit(2)
    driver.do(ev.NodeDrainAsked(NodeName("one"), by="ada@host"))
    assert shown(driver).drained
    assert "drained by ada@host; 1 still runs (undo: discomputify nodes drain one --undo)" in shown(driver).reason
    driver.end(driver.starts.pop())
    assert not driver.starts
    assert "no computing node takes new parts: one takes no more parts: drained by ada@host" in driver.status.reason
    driver.do(ev.NodeDrainAsked(NodeName("one"), undo=True))
    driver.finish()
    assert driver.status.parts.done == 2


def test_a_node_that_fails_parts_of_different_jobs_in_a_row_is_set_aside_and_tried_again() -> None:
    driver = Driver(facts("bad", 1), facts("good", 1))
    driver.submit(1, "long", priority=9)
    assert driver.starts.pop().node == "bad"
    driver.submit(2, "first", attempts=9)
    driver.submit(9, "second", attempts=9)
    driver.do(ev.NodeLeft(NodeName("bad"), "s1"))
    driver.do(ev.NodeJoined(facts("bad", 1, "s2"), "bad:1"))
    while not driver.cluster.state.nodes[NodeName("bad")].set_aside:
        start = driver.starts.pop(0)
        driver.end(start, End.BROKEN if start.node == "bad" else End.DONE, reason="no space left")
    assert "set aside: 3 attempts of different jobs" in shown(driver, "bad").reason
    assert "tried again in 60 s" in shown(driver, "bad").reason
    driver.finish()
    assert not driver.cluster.state.nodes[NodeName("bad")].attempts
    for _ in range(61):
        driver.now += 1.0
        driver.do(ev.NodeBeat(NodeName("bad"), NodeLoad()), ev.NodeBeat(NodeName("good"), NodeLoad()), ev.Tick())
    assert shown(driver, "bad").reason == ""
    assert driver.cluster.state.nodes[NodeName("bad")].open


def test_a_paused_node_is_left_out_and_says_why() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    driver.do(ev.NodeBeat(NodeName("one"), NodeLoad(paused="its disk is full")))
    driver.submit(2)
    assert [start.node for start in driver.starts] == ["two"]
    assert shown(driver).reason == "takes no new parts: its disk is full"
    assert "one takes no new parts: its disk is full" in why.why_job(driver.cluster.state, driver.job)
    driver.do(ev.NodeBeat(NodeName("one"), NodeLoad()))
    assert [start.node for start in driver.starts] == ["two", "one"]


def test_when_all_nodes_go_at_once_they_have_a_full_lease_to_come_back() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    driver.submit(2)
    driver.do(ev.NodeCut(NodeName("one"), "s1", "reset"), ev.NodeCut(NodeName("two"), "s1", "reset"))
    for driver.now in (1.0, 2.5, 6.0, 10.0, 14.0, 18.0, 22.0):
        driver.do(ev.Tick())
    assert {shown(driver, name).state for name in ("one", "two")} == {"away"}
    assert driver.status.parts.placed == 2
    driver.do(ev.NodeJoined(facts("one", 1), "one:1", (driver.starts[0].attempt,)))
    assert shown(driver).state == "live"
    driver.now = 23.0
    driver.do(ev.Tick())
    assert shown(driver, "two").state == "lost"
    assert driver.status.parts.placed == 1


def test_a_node_that_goes_alone_is_given_up_at_once() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    driver.do(ev.NodeCut(NodeName("one"), "s1", "reset"))
    assert shown(driver).state == "cut"
    driver.now = 2.5
    driver.do(ev.Tick())
    assert shown(driver).state == "lost"


def restarted(driver: Driver) -> list[object]:
    """Another master begins with what this one knew."""
    driver.cluster = Cluster(Fifo(), state=saving.load(saving.save(driver.cluster.state)))
    driver.starts.clear()
    return driver.do(ev.MasterStarted(500.0))


def test_after_a_restart_what_may_not_have_been_done_is_asked_for_again() -> None:
    driver = Driver(facts("one", 2))
    driver.submit(1, "old")
    start = driver.starts[-1]
    driver.do(ev.MemoryUsed(start.node, start.attempt, "t"))
    driver.end(start)
    driver.do(ev.JobClearAsked(ProcessId("old")))
    driver.do(ev.JobSubmitted(JobSpec(JOB, "k", 1, DIGEST)))
    scope = Scope(ProcessId("old"), "k")
    again = restarted(driver)
    assert {ClearMemory(scope), ClearStore(ProcessId("old")), CheckTree(JOB, "k", DIGEST)} <= set(again)
    driver.do(ev.MemoryCleared(scope), ev.StoreCleared(ProcessId("old")), ev.TreeChecked(JOB, "k"))
    assert not any(isinstance(command, (ClearMemory, ClearStore, CheckTree)) for command in restarted(driver))


def test_after_a_restart_nodes_have_a_full_lease_and_their_attempts_go_on() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    driver.submit(3)
    one, _ = driver.starts
    version = driver.job.version
    restarted(driver)
    assert driver.job.version > version
    assert shown(driver).state == "away"
    assert "no computing node takes new parts: one is away; two is away" in driver.status.reason
    driver.now += 3.0
    driver.do(ev.Tick())
    driver.do(ev.NodeJoined(facts("one", 1), "one:1", (one.attempt,)))
    driver.end(one)
    (again,) = driver.starts
    assert isinstance(again, StartPart)
    assert (again.node, again.part, again.number) == ("one", 3, 1)
    for _ in range(18):
        driver.now += 1.0
        driver.do(ev.NodeBeat(NodeName("one"), NodeLoad()), ev.Tick())
    assert shown(driver, "two").state == "lost"
    assert driver.status.failures[-1].reason.startswith("its node was lost (it has not come back since the master")
