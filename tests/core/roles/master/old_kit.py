"""An old client and computing nodes that run nothing, for tests of what the master does for old clients (CYPHER/1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from discomputify_core.edge.calls import Link, Peer
from discomputify_core.edge.connect import hello, master_address
from discomputify_core.errors import Unreachable
from discomputify_core.interfaces.calls import Asked, Operation, Reply
from discomputify_core.interfaces.files import SHOWN, Blob
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.job import End, Outcome
from discomputify_core.model.message import Hello, Join, Report, Start, Work
from discomputify_core.model.node import NodeFacts
from discomputify_core.model.old_clients import OLD_CLIENT, OLD_REQUEST, OldAnswer, OldRequest
from discomputify_testkit.fakes.memory_store import MemoryStore
from discomputify_testkit.running import until

WRITES = """
import sys, pathlib
part, total, pid = sys.argv[1:4]
pathlib.Path("OUTPUT_PATH/sub").mkdir()
pathlib.Path("OUTPUT_PATH/sub/out.txt").write_text(f"{part} of {total} of {pid}")
"""

#: Says that it runs, by a file with its process's number, and goes on until it is ended.
STAYS = """
import os, pathlib, time
place = pathlib.Path({place!r})
new = place / f"new-{{os.getpid()}}"
new.write_text(str(os.getpid()))
new.rename(place / f"pid-{{os.getpid()}}")
while True:
    time.sleep(0.05)
"""


class Old:
    """An old client, as its transport hands it on."""

    def __init__(self, cluster: Any, role: str = OLD_CLIENT) -> None:
        loaded = cluster.loaded()
        self.link = Link(loaded.transport(), master_address(loaded.conf), "master_node", Hello(role))
        cluster._open.append(self.link)

    async def asks(self, operation: str, data: Any = None) -> OldAnswer:
        """The whole answer."""
        request = to_plain(OldRequest("/", operation, data, {}))
        return from_plain((await self.link.call(OLD_REQUEST, request, timeout=25)).data, OldAnswer)

    async def says(self, operation: str, process_id: str = "qwe") -> Any:
        """DATA of the answer to a request about a job."""
        return (await self.asks(operation, {"PROCESS_ID": process_id})).data


class FakeNode:
    """A computing node that runs nothing: it notes what it is told, and reports what a test wants."""

    def __init__(self, cluster: Any, name: str, slots: int) -> None:
        self.cluster = cluster
        self.name = NodeName(name)
        self.facts = NodeFacts(self.name, slots, memory=10**9, cache_limit=10**9, session="s")
        #: What it says that it runs when it joins.
        self.attempts: tuple[AttemptId, ...] = ()
        self.started: list[Start] = []
        self.stopped: list[str] = []
        loaded = cluster.loaded()
        self.link = Link(
            loaded.transport(),
            master_address(loaded.conf),
            "master_node",
            hello("computing_node", name),
            operations={"node.work": Operation(self._work)},
            greet=self._greet,
        )

    async def _greet(self, peer: Peer) -> None:
        await peer.call("node.join", to_plain(Join(self.facts, self.attempts)), timeout=10)

    async def _work(self, asked: Asked) -> Reply:
        work = from_plain(asked.data, Work)
        self.started += work.start
        self.stopped += work.stop
        return Reply()

    async def told(self, parts: int = 1) -> list[Start]:
        """All starts, once there are so many."""
        await until(lambda: len(self.started) >= parts)
        return self.started

    async def ended(self, start: Start, end: End, manifest: str = "") -> None:
        outcome = Outcome(start.attempt, end, manifest=manifest, reason="it was said so")
        await self.link.call("node.report", to_plain(Report(ended=(outcome,))), timeout=10)

    async def done(self, start: Start, **outputs: str) -> None:
        """The part is done, with these outputs."""
        store = self.cluster.store
        entries = [await put(self.cluster, f"outputs/{name}", text) for name, text in outputs.items()]
        log = await put(self.cluster, "logs/out", "said")
        await self.ended(
            start, End.DONE, await store.commit(start.process_id, str(start.attempt), Manifest([*entries, log]))
        )

    async def close(self) -> None:
        await self.link.close()


async def fake(cluster: Any, name: str = "n1", slots: int = 2) -> FakeNode:
    """A fake node that has joined, closed with the cluster."""
    node = FakeNode(cluster, name, slots)
    cluster._open.append(node)
    await node.link.connect(10)
    return node


async def put(cluster: Any, path: str, text: str) -> Entry:
    """A file of *text* in the store, as an entry of a tree."""
    place = cluster.folder / f"file{len(list(cluster.folder.glob('file*')))}"
    place.write_text(text, encoding="utf-8")
    hasher = MemoryStore.hasher()
    hasher.update(place.read_bytes())
    digest, size = hasher.digest(), place.stat().st_size
    await cluster.store.put(ProcessId("any"), [Blob(digest, size, place)])
    return Entry(path, size, digest)


async def uploaded(cluster: Any, text: str = "", process_id: str = "qwe") -> None:
    """A program of *text*, uploaded and not started."""
    await cluster.client().upload(cluster.program(text), process_id)


async def trees(cluster: Any, process_id: str = "qwe") -> dict[str, list[str]]:
    """What old clients are shown of a job: the paths in each of its trees."""
    store, pid = cluster.store, ProcessId(process_id)
    found = {name: tree.digest for name, tree in store.contents.trees.get(pid, {}).items() if name.startswith(SHOWN)}
    return {
        name[len(SHOWN) :]: [entry.path for entry in (await store.manifest(pid, digest)).entries]
        for name, digest in found.items()
    }


async def ended(old: Old, process_id: str = "qwe") -> OldAnswer | None:
    """The answer to READ_PROCESS_STATUS if nothing is under way."""
    answer = await old.asks("READ_PROCESS_STATUS", {"PROCESS_ID": process_id})
    return None if any(answer.data.values()) else answer


async def when(ask: Callable[[], Awaitable[OldAnswer | None]], deadline: float = 10.0) -> OldAnswer:
    """The first answer that *ask* gives."""
    answers: list[OldAnswer] = []

    async def answered() -> Any:
        answer = await ask()
        answers.extend([answer] if answer else [])
        return answer is not None

    await until(answered, deadline)
    return answers[0]


def away(monkeypatch: pytest.MonkeyPatch, method: str, applies: Callable[..., bool]) -> list[bool]:
    """Let a method of the store fail while the list that is returned is not empty."""
    given, gone = getattr(MemoryStore, method), [True]

    async def fails(self: MemoryStore, *about: Any) -> Any:
        if gone and applies(*about):
            raise Unreachable("no store at store:1")
        return await given(self, *about)

    monkeypatch.setattr(MemoryStore, method, fails)
    return gone


def shows(process_id: str, tree: str, manifest: Manifest) -> bool:
    """Whether a commit is one for old clients."""
    return tree.startswith(SHOWN)
