"""Random histories of the cluster: whatever happens, the invariants hold and every job ends."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from discomputify_core.cluster import invariants, saving
from discomputify_core.cluster.machine import Cluster
from discomputify_core.model import events as ev
from discomputify_core.model.commands import Command, JobChanged, StartPart, StopAttempt
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.job import End, JobSpec, Outcome, Request
from discomputify_core.model.node import NodeFacts, NodeLoad
from discomputify_core.model.records import PASSING, decode, encode
from discomputify_core.plugins.fifo import Fifo

DIGEST = "blake3:" + "cd" * 32
NAMES = st.sampled_from(["a", "b", "c"])


def packed(cluster: Cluster) -> bytes:
    """All that is saved of *cluster*, orders included."""
    data: bytes = msgpack.packb(saving.save(cluster.state))
    return data


def loaded(data: bytes) -> Cluster:
    """A cluster that begins with what was saved."""
    return Cluster(Fifo(), state=saving.load(msgpack.unpackb(data, strict_map_key=False)))


class Histories(RuleBasedStateMachine):
    """Three nodes that run, fail, vanish, return and restart; late and repeated reports among them."""

    @initialize()
    def begin(self) -> None:
        self.cluster = Cluster(Fifo())
        #: Knows what was written down, and nothing else.
        self.shadow = Cluster(Fifo())
        #: What was saved after the last step.
        self.saved = b""
        self.now = 0.0
        self.sessions: dict[str, int] = {}
        #: What each node really runs.
        self.running: dict[str, dict[AttemptId, StartPart]] = {"a": {}, "b": {}, "c": {}}
        self.over: list[tuple[str, Outcome]] = []
        self.jobs = 0
        self.committed: dict[tuple[str, int], int] = {}
        self.join("a")

    def do(self, *events: ev.Event) -> None:
        """Let *events* happen; nodes that are there do at once as they are told."""
        commands = self.cluster.handle(*events, now=self.now)
        self.replays(events, commands)
        self.see(commands)
        for command in commands:
            if not isinstance(command, StopAttempt) or not self.live(command.node):
                continue
            if self.running[command.node].pop(command.attempt, None):
                self.do(ev.AttemptEnded(command.node, Outcome(command.attempt, End.STOPPED)))

    def replays(self, events: Sequence[ev.Event], commands: Sequence[Command]) -> None:
        """What was written down of a turn leads to the same commands."""
        record = self.cluster.record
        if record is None:
            assert all(isinstance(event, PASSING) for event in events)
        else:
            assert [event for event in record.events if event in events] == [
                event for event in events if not isinstance(event, PASSING)
            ]
        replayed = self.shadow.replay(decode(encode(record))) if record else ()
        assert [each for each in commands if not isinstance(each, JobChanged)] == [
            each for each in replayed if not isinstance(each, JobChanged)
        ]
        invariants.check_touched(self.cluster.state, self.cluster.touched, commands, record)

    def see(self, commands: Sequence[Command]) -> None:
        """Look at what the cluster wants, before any of it is done."""
        for command in commands:
            if isinstance(command, StartPart):
                self.running[command.node][command.attempt] = command

    @property
    def wall(self) -> float:
        return 1000.0 + self.now

    def give_way(self) -> bool:
        """Whether something that could never run was taken out of the way of what nothing else keeps from running."""
        return False

    def live(self, name: str) -> bool:
        node = self.cluster.state.nodes.get(NodeName(name))
        return node is not None and node.live

    def session(self, name: str) -> str:
        return f"s{self.sessions.get(name, 0)}"

    @rule(name=NAMES)
    def join(self, name: str) -> None:
        facts = NodeFacts(
            NodeName(name),
            slots=3,
            memory=100,
            resources={"gpu": 1} if name == "b" else {},
            cache_limit=1 << 30,
            session=self.session(name),
        )
        attempts = tuple(self.running[name])
        self.do(ev.NodeJoined(facts, f"{name}:1", attempts))
        for attempt in self.cluster.unknown_attempts(attempts):
            self.running[name].pop(attempt, None)

    @rule(name=NAMES)
    def restart(self, name: str) -> None:
        self.running[name].clear()
        self.sessions[name] = self.sessions.get(name, 0) + 1
        self.join(name)

    @rule(names=st.sets(NAMES), seconds=st.sampled_from([0.5, 3.0]))
    def restart_master(self, names: set[str], seconds: float) -> None:
        """The master is killed; another one begins with what was written down, and some nodes are there at once."""
        policy = type(self.cluster.policy)()
        self.cluster = loaded(packed(self.cluster))
        self.cluster.policy = policy
        self.now += seconds
        self.do(ev.MasterStarted(self.now))
        assert not any(self.live(name) for name in self.running)
        for name in sorted(names):
            self.join(name)

    @rule(name=NAMES, undo=st.booleans())
    def drain(self, name: str, undo: bool) -> None:
        self.do(ev.NodeDrainAsked(NodeName(name), undo, "ada"))

    @rule(name=NAMES, why=st.sampled_from(["", "its disk is full"]))
    def pause(self, name: str, why: str) -> None:
        if self.live(name):
            self.do(ev.NodeBeat(NodeName(name), NodeLoad(paused=why)))

    @rule(parts=st.integers(4, 8), attempts=st.integers(1, 3))
    def submit_in_a_hurry(self, parts: int, attempts: int) -> None:
        self.jobs += 1
        process_id = ProcessId(f"job{self.jobs}")
        spec = JobSpec(process_id, "k", parts, DIGEST, attempts=attempts, lost_attempts=1, second_attempts=True)
        self.do(ev.JobSubmitted(spec, self.now))
        self.do(ev.TreeChecked(process_id, "k"))

    @rule(keep=st.booleans())
    def start_all(self, keep: bool) -> None:
        """Whatever was placed runs, for a while; and perhaps leaves something for its next attempt."""
        for name, held in self.running.items():
            for attempt in held if self.live(name) else ():
                self.do(ev.AttemptStarted(NodeName(name), attempt, self.wall))
                if keep:
                    self.do(ev.AttemptKept(NodeName(name), attempt, DIGEST))
        self.tick(3.0)

    @rule()
    def end_all_but_one(self) -> None:
        """All goes well, but one part hangs: it may be tried elsewhere."""
        held = [(name, attempt) for name, held in self.running.items() if self.live(name) for attempt in held]
        for name, attempt in held[1:]:
            if self.running[name].pop(attempt, None):
                self.do(
                    ev.AttemptStarted(NodeName(name), attempt, self.wall),
                    ev.AttemptEnded(NodeName(name), Outcome(attempt, End.DONE, manifest=DIGEST), self.wall),
                )
        self.tick(3.0)

    @rule()
    def all_fall_silent(self) -> None:
        """No node is heard of for longer than a lease: that is the master's own network."""
        there = [name for name in self.running if self.live(name)]
        for _ in range(8):
            self.now += 3.0
            self.do(ev.Tick(self.wall))
        away = [node for node in self.cluster.state.nodes.values() if node.away]
        assert len(there) < 2 or not any(self.live(name) for name in there) or away

    @rule(name=NAMES)
    def fall_silent(self, name: str) -> None:
        """A node is not heard of for longer than its lease, while others are."""
        for _ in range(8):
            self.now += 3.0
            for other in self.running:
                if other != name and self.live(other):
                    self.do(ev.NodeBeat(NodeName(other), NodeLoad()))
            self.do(ev.Tick(self.wall))

    @rule(name=NAMES)
    def cut(self, name: str) -> None:
        self.do(ev.NodeCut(NodeName(name), self.session(name)))

    @rule(name=NAMES)
    def leave(self, name: str) -> None:
        if self.live(name):
            self.running[name].clear()
        self.do(ev.NodeLeft(NodeName(name), self.session(name)))

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 30.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        for name in self.running:
            if self.live(name) and seconds < 10:
                self.do(ev.NodeBeat(NodeName(name), NodeLoad()))
        self.do(ev.Tick(self.wall))

    @rule(
        parts=st.integers(1, 12),
        cpus=st.integers(1, 3),
        memory=st.sampled_from([0, 40]),
        gpu=st.booleans(),
        attempts=st.integers(1, 3),
        priority=st.integers(0, 2),
        per_node=st.integers(0, 2),
    )
    def submit(
        self, parts: int, cpus: int, memory: int, gpu: bool, attempts: int, priority: int, per_node: int
    ) -> None:
        self.jobs += 1
        process_id = ProcessId(f"job{self.jobs}")
        request = Request(cpus, memory, {"gpu": 1} if gpu else {})
        spec = JobSpec(
            process_id,
            "k",
            parts,
            DIGEST,
            request=request,
            attempts=attempts,
            lost_attempts=2,
            priority=priority,
            per_node=per_node,
        )
        self.do(ev.JobSubmitted(spec, self.now))
        self.do(ev.TreeChecked(process_id, "k"))

    @precondition(lambda self: any(self.running.values()))
    @rule(data=st.data(), end=st.sampled_from([End.DONE, End.DONE, End.DONE, End.EXIT, End.BROKEN, End.RETURNED]))
    def end(self, data: st.DataObject, end: End) -> None:
        name = data.draw(st.sampled_from([name for name, held in self.running.items() if held]))
        attempt = data.draw(st.sampled_from(list(self.running[name])))
        start = self.running[name].pop(attempt)
        outcome = Outcome(attempt, end, manifest=DIGEST if end is End.DONE else "")
        self.over.append((name, outcome))
        known = any(attempt in job.live for job in self.cluster.state.jobs.values())
        if data.draw(st.booleans()):
            self.do(ev.AttemptStarted(NodeName(name), attempt, self.wall))
        self.do(ev.AttemptEnded(NodeName(name), outcome, self.wall))
        if known and end is End.DONE:
            key = (start.spec.process_id, start.part)
            self.committed[key] = self.committed.get(key, 0) + 1

    @precondition(lambda self: self.over)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        name, outcome = data.draw(st.sampled_from(self.over))
        self.do(ev.AttemptEnded(NodeName(name), outcome))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        self.do(ev.JobStopAsked(ProcessId(f"job{data.draw(st.integers(1, self.jobs))}")))

    @rule(data=st.data())
    def clear(self, data: st.DataObject) -> None:
        ended = [job.id for job in self.cluster.state.jobs.values() if job.ended]
        if ended:
            self.do(ev.JobClearAsked(data.draw(st.sampled_from(ended))))

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "cluster"):
            invariants.check(self.cluster.state)
            assert not self.cluster.faults
            saved = packed(self.cluster)
            assert packed(self.shadow) == saved
            if saved != self.saved:
                assert packed(loaded(saved)) == saved
            self.saved = saved

    def teardown(self) -> None:
        """Calm weather: with all nodes there and everything going well, every job ends."""
        if not hasattr(self, "cluster"):
            return
        for name in self.running:
            self.drain(name, undo=True)
            self.join(name)
            self.pause(name, "")
        self.do(ev.Tick(self.wall))
        self.now += 4000.0
        self.do(ev.Tick(self.wall))
        while any(self.running.values()) or self.give_way():
            for name, held in self.running.items():
                for attempt in list(held):
                    held.pop(attempt)
                    self.do(ev.AttemptEnded(NodeName(name), Outcome(attempt, End.DONE, manifest=DIGEST)))
            self.holds()
        assert all(job.ended for job in self.cluster.state.jobs.values())
        assert all(count == 1 for count in self.committed.values())


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
