"""How nodes and a job on them look to old clients, who know nodes and no parts."""

from __future__ import annotations

import pytest

from discomputify_core.cluster.by_node import under_way
from discomputify_core.cluster.machine import Cluster
from discomputify_core.model import events as ev
from discomputify_core.model.commands import StartPart
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import End, JobSpec, Outcome
from discomputify_core.model.node import NodeFacts
from discomputify_core.plugins.fifo import Fifo

DIGEST = "blake3:" + "ab" * 32
JOB = ProcessId("job")


def cluster_of(*names: str) -> Cluster:
    """A cluster of nodes with one slot each."""
    cluster = Cluster(Fifo())
    for name in names:
        facts = NodeFacts(NodeName(name), 1, memory=1 << 30, cache_limit=1 << 30, session="s")
        cluster.handle(ev.NodeJoined(facts, f"{name}:1"), now=0.0)
    return cluster


def submit(cluster: Cluster, parts: int) -> list[StartPart]:
    """Start a job with one part on a node at once; what is placed."""
    spec = JobSpec(process_id=JOB, key="k", parts=parts, tree=DIGEST, per_node=1)
    commands = cluster.handle(ev.JobSubmitted(spec), ev.TreeChecked(JOB, "k"), now=0.0)
    return [command for command in commands if isinstance(command, StartPart)]


def seen(cluster: Cluster, behind: bool = False) -> dict[str, bool]:
    return under_way(cluster.state, cluster.job(JOB), behind)


@pytest.mark.parametrize("started", [False, True])
def test_a_job_whose_only_node_is_cut_off_for_a_moment_is_not_taken_for_ended(started: bool) -> None:
    cluster = cluster_of("one", "two")
    (start,) = submit(cluster, 1)
    if started:
        cluster.handle(ev.AttemptStarted(start.node, start.attempt), now=0.0)
    assert seen(cluster) == {"one": True, "two": False}
    cluster.handle(ev.NodeCut(start.node, "s"), now=1.0)
    assert seen(cluster) == {"two": False, "one": True}
    cluster.handle(ev.Tick(), now=4.0)  # given up; its part runs elsewhere
    assert seen(cluster)["two"]


def test_without_any_node_a_job_that_waits_is_under_way_on_those_that_there_were() -> None:
    cluster = cluster_of("one")
    (start,) = submit(cluster, 2)
    cluster.handle(ev.NodeLeft(start.node, "s"), now=1.0)
    assert seen(cluster) == {"one": True}


def test_all_are_under_way_while_only_outputs_have_to_be_shown() -> None:
    cluster = cluster_of("one", "two")
    for start in submit(cluster, 2):
        cluster.handle(ev.AttemptEnded(start.node, Outcome(start.attempt, End.DONE, manifest=DIGEST)), now=1.0)
    assert seen(cluster, behind=True) == {"one": True, "two": True}
    assert seen(cluster) == {"one": False, "two": False}
