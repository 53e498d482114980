"""Scenarios drawn from a seed: one job on equal nodes of which some are killed, or jobs and faults of every kind."""

from __future__ import annotations

import math
from random import Random

from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobSpec, Request
from discomputify_testkit.simulator.durations import Durations
from discomputify_testkit.simulator.scenario import FAULTS, Fault, JobPlan, NodePlan, Scenario

TREE = "blake3:" + "cd" * 32
#: Seconds until a node that was killed is back.
BACK = 30.0
POLICIES = ("fifo", "roundrobin", "leastload")
#: Faults of the whole cluster; of which kinds there are more than of others.
_CLUSTER = ("all", "master", "disk", "store", "table")
_OFTEN = ("kill", "cut", "silence", "master", "power")


def one_job(
    seed: int, *, nodes: int, slots: int, parts: int, policy: str, seconds: Durations, kill: float = 0.0
) -> Scenario:
    """One job on equal nodes, of which the share *kill* dies while it runs: every second one without a word."""
    random = Random(seed)
    plans = tuple(NodePlan(f"node{at + 1}", slots) for at in range(nodes))
    job = JobPlan(JobSpec(ProcessId("job"), "k", parts, TREE), seconds=seconds)
    some = Random(seed + 1)
    mean = sum(seconds.draw(some) for _ in range(100)) / 100
    last = max(parts * mean / (nodes * slots), mean)
    killed = random.sample(range(nodes), min(round(kill * nodes), nodes))
    faults = [
        Fault(random.uniform(0.0, last), ("kill", "power")[at % 2], plans[index].name, BACK)
        for at, index in enumerate(killed)
    ]
    return Scenario(seed, policy, plans, (job,), tuple(sorted(faults, key=lambda fault: fault.at)))


def anything(seed: int, least: int = 5, most: int = 500, nodes: int | None = None, parts: int = 60) -> Scenario:
    """Jobs and faults of every kind, on *nodes* nodes, or log-uniformly many between *least* and *most*."""
    random = Random(seed)
    count = nodes or round(math.exp(random.uniform(math.log(least), math.log(most))))
    plans = tuple(
        NodePlan(
            f"node{at + 1}",
            slots=random.choice((1, 2, 4)),
            memory=100,
            speed=random.choice((1.0, 1.0, 0.5, 2.0)),
            begins=0.0 if at < 4 else random.choice((0.0, random.uniform(0.0, 5.0))),
        )
        for at in range(count)
    )
    jobs = tuple(_job(random, at, parts, sum(plan.slots for plan in plans)) for at in range(random.randint(1, 6)))
    window = 20.0
    faults = sorted(
        (_fault(random, plans, window) for _ in range(random.randint(1, 12))), key=lambda fault: (fault.at, fault.kind)
    )
    return Scenario(seed, random.choice(POLICIES), plans, jobs, tuple(faults))


def _job(random: Random, at: int, most: int, slots: int) -> JobPlan:
    shares = random.random() < 0.25
    together = random.random() < 0.2
    parts = random.randint(1, most)
    if together:  # a gang has to fit, also while some nodes are away
        parts = max(1, min(parts, slots // 4))
    before = [ProcessId(f"job{each}") for each in range(at)]

    def one_of(share: float) -> tuple[ProcessId, ...]:
        return (random.choice(before),) if before and random.random() < share else ()

    spec = JobSpec(
        ProcessId(f"job{at}"),
        "k",
        parts,
        TREE,
        request=Request(1, random.choice((0, 0, 20))),
        attempts=random.choice((1, 2, 3)),
        lost_attempts=random.choice((1, 5, 5)),
        priority=random.choice((0, 0, 1)),
        per_node=random.choice((0, 0, 0, 2)) if not together else 0,
        together=together,
        after=one_of(0.15),
        after_any=one_of(0.15),
        inputs_from=one_of(0.1),
        deadline=random.choice((0.0, 0.0, 0.0, 30.0)),
        max_failures=random.choice((0, 0, 0, 2)),
        second_attempts=random.random() < 0.3,
    )
    return JobPlan(
        spec,
        at=random.uniform(0.0, 8.0),
        seconds=random.choice(
            (Durations("uniform", (0.1, 3.0)), Durations("exp", (1.0,)), Durations("lognormal", (1.0, 1.0)))
        ),
        fails=random.choice((0.0, 0.0, 0.1, 0.4)),
        shares=shares,
        keeps=random.random() < 0.2,
        stop=random.uniform(1.0, 20.0) if random.random() < 0.1 else None,
        again=random.random() < 0.3,
        clear=random.random() < 0.2,
    )


def _fault(random: Random, plans: tuple[NodePlan, ...], window: float) -> Fault:
    kind = random.choice((*FAULTS, *_OFTEN))
    at = random.uniform(0.0, window)
    seconds = random.choice((random.uniform(0.01, 3.0), random.uniform(3.0, 30.0), random.uniform(20.0, 60.0)))
    if kind in _CLUSTER:
        more = random.choice((0.0, 1.0, random.random())) if kind == "master" else 0.0
        return Fault(at, kind, "", seconds, more)
    more = random.choice((2.0, 10.0, 50.0)) if kind == "slow" else 0.0
    # Most parts run on the first nodes.
    return Fault(at, kind, plans[int(len(plans) * random.random() ** 3)].name, seconds, more)
