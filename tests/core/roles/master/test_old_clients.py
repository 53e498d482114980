"""What old clients (CYPHER/1) ask the master: started, watched, shown, stopped and cleared as ordinary jobs."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.edge.calls import Link, Peer
from discomputify_core.edge.connect import hello, master_address
from discomputify_core.errors import (
    BadInput,
    BlobDamaged,
    DiscomputifyError,
    NoSuchTree,
    PeerBroke,
    Refused,
    Unreachable,
)
from discomputify_core.interfaces.calls import Asked, Operation, Reply
from discomputify_core.interfaces.files import SHOWN, UPLOADED, Blob
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.conf import Count, Inside
from discomputify_core.model.files import Digest, Entry, Manifest
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import End, JobState, Outcome
from discomputify_core.model.message import Beat, Hello, Join, Report, Start, Work
from discomputify_core.model.node import NodeFacts, NodeLoad
from discomputify_core.model.old_clients import OLD_CLIENT, OLD_REQUEST, OldAnswer, OldRequest
from discomputify_core.roles.master import ending, old_clients, old_starting, showing
from discomputify_core.roles.master.old_starting import OldJobs
from discomputify_core.roles.master.showing import shown_outputs
from discomputify_core.roles.starting import master_role
from discomputify_testkit.fakes.memory_store import MemoryStore
from discomputify_testkit.running import run, until

Small = Callable[[], Any]

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
        await peer.call("node.join", to_plain(Join(self.facts)), timeout=10)

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


# --- what is refused --------------------------------------------------------------------------------


ABOUT_JOBS = ("EXEC", "READ_PROCESS_STATUS", "TERMINATE", "CLEAR_DATA")
NO_OBJECTS: tuple[Any, ...] = (None, [], "qwe", 7, True)
NO_TEXTS: tuple[Any, ...] = (None, 7, ["qwe"], {})
NO_IDS = ("", "..", "a/b", "/etc", "x" * 200, "né", "a\x00b")


def test_what_no_old_client_could_mean_is_refused(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            old = Old(cluster)
            for operation in ("NONE", "READ", "", "exec", "é" * 500):
                with pytest.raises(BadInput, match=r"OPERATION .*it knows EXEC"):
                    await old.asks(operation, {"PROCESS_ID": "qwe"})
            for operation in ABOUT_JOBS:
                for data in NO_OBJECTS:
                    with pytest.raises(BadInput, match=f"DATA of {operation} has to be an object"):
                        await old.asks(operation, data)
                with pytest.raises(BadInput, match=f"DATA of {operation} has no PROCESS_ID"):
                    await old.asks(operation, {"process_id": "qwe"})
                for value in NO_TEXTS:
                    with pytest.raises(BadInput, match=f"PROCESS_ID of {operation} has to be text"):
                        await old.asks(operation, {"PROCESS_ID": value})
                for wrong in NO_IDS:
                    with pytest.raises(BadInput, match="PROCESS_ID"):
                        await old.asks(operation, {"PROCESS_ID": wrong})
            with pytest.raises(PeerBroke, match="OldRequest"):
                await old.link.call(OLD_REQUEST, {"path": 3})

    run(main())


def test_only_old_clients_may_ask_so(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            with pytest.raises(Refused, match="Only old clients"):
                await Old(cluster, "client").asks("GET_NO_OF_NODES")

    run(main())


# --- EXEC -------------------------------------------------------------------------------------------


def test_one_part_runs_on_each_node_and_its_outputs_are_shown_before_it_reads_as_ended(
    small: Small, tmp_path: Path
) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            for name in ("n1", "n2"):
                await cluster.node(name)
            old, client = Old(cluster), cluster.client()
            await uploaded(cluster, WRITES)
            assert await old.says("EXEC") == {"n1": "STARTED", "n2": "STARTED"}
            answer = await when(lambda: ended(old), 20)
            assert answer.metadata == {"STATE": "done"}
            assert await trees(cluster) == {f"qwe_{part}_2": ["OUTPUT_PATH/sub/out.txt"] for part in (1, 2)}
            status = await client.status("qwe")
            assert dict(status.nodes) == {"n1": 1, "n2": 1}
            assert status.owner == "an old client at memory"
            await client.fetch("qwe", tmp_path / "home")
            assert (tmp_path / "home/qwe/qwe_2_2/sub/out.txt").read_text(encoding="utf-8") == "2 of 2 of qwe"
            assert (await client.why("qwe")).text == "qwe is done: all 2 parts are done"
            await client.clear("qwe")
            assert not cluster.store.contents.trees.get(ProcessId("qwe"))

    run(main(), 60)


async def ended(old: Old, process_id: str = "qwe") -> OldAnswer | None:
    """The answer to READ_PROCESS_STATUS if nothing is under way."""
    answer = await old.asks("READ_PROCESS_STATUS", {"PROCESS_ID": process_id})
    return None if any(answer.data.values()) else answer


def test_a_running_job_is_not_started_again_and_an_ended_one_is(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            node, other = await fake(cluster, "n1"), await fake(cluster, "n2")
            old = Old(cluster)
            await uploaded(cluster)
            assert await old.says("EXEC") == {"n1": "STARTED", "n2": "STARTED"}
            assert await old.says("EXEC") == {"n1": "ALREADY_RUNNING", "n2": "ALREADY_RUNNING"}
            (first,), (second,) = await node.told(), await other.told()
            await node.done(first, a="1")
            await other.done(second, b="2", c="3")
            await when(lambda: ended(old))
            before = await trees(cluster)
            assert before == {"qwe_1_2": ["OUTPUT_PATH/a"], "qwe_2_2": ["OUTPUT_PATH/b", "OUTPUT_PATH/c"]}
            assert await old.says("EXEC") == {"n1": "STARTED", "n2": "STARTED"}
            # What the first run wrote is not taken for outputs of the second, and the program is there still.
            assert await trees(cluster) == {"qwe_1_2": [], "qwe_2_2": []}
            (_, first), (_, second) = await node.told(2), await other.told(2)
            assert len(node.started) == len(other.started) == 2
            await node.done(first, d="4")
            await other.done(second)
            await when(lambda: ended(old))
            assert await trees(cluster) == {"qwe_1_2": ["OUTPUT_PATH/d"], "qwe_2_2": []}
            assert len(master.cluster.state.jobs) == 1

    run(main())


def test_two_at_once_start_one_job(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster, slots=8)
            await uploaded(cluster)
            olds = [Old(cluster) for _ in range(5)]
            answers = await asyncio.gather(*(old.says("EXEC") for old in olds))
            assert sorted(answer["n1"] for answer in answers) == ["ALREADY_RUNNING"] * 4 + ["STARTED"]
            assert len(await node.told()) == 1

    run(main())


def test_legacy_parts_says_how_many_parts_there_are_and_nodes_take_what_they_can(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            conf = {"legacy_parts": Count(5), "input_path": Inside("IN"), "output_path": Inside("OUT/here")}
            role = master_role(cluster.loaded(**conf))
            cluster._open.append(role)
            await role.start()
            node, other = await fake(cluster, "n1", 2), await fake(cluster, "n2", 3)
            await uploaded(cluster)
            assert await Old(cluster).says("EXEC") == {"n1": "STARTED", "n2": "STARTED"}
            starts = [*await node.told(2), *await other.told(3)]
            assert sorted(start.part for start in starts) == [1, 2, 3, 4, 5]
            status = await cluster.client().status("qwe")
            assert (status.input_path, status.output_path) == ("IN", "OUT/here")
            await node.done(starts[0], x="1")
            name = f"qwe_{starts[0].part}_5"

            async def shown() -> Any:
                return await trees(cluster) == {name: ["OUT/here/x"]}

            await until(shown)

    run(main())


async def _gather(self: MemoryStore, process_id: ProcessId) -> Digest:
    """A store that serves old clients: what they wrote is the tree "written"."""
    written = await self.manifest(process_id, await self.find(process_id, "written"))
    return await self.commit(process_id, UPLOADED, written)


def test_what_old_clients_wrote_is_started_wherever_its_main_py_is(
    small: Small, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(MemoryStore, "gather", _gather)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster)
            old, store, pid = Old(cluster), cluster.store, ProcessId("qwe")
            await uploaded(cluster, "by a new client")
            assert await old.says("EXEC") == {"n1": "STARTED"}
            await node.done(*await node.told())
            await when(lambda: ended(old))
            paths = ["dir/main.py", "dir/lib/main.py", "dir/discomputify_conf.json", "beside.py"]
            await store.commit(pid, "written", Manifest([await put(cluster, path, path) for path in paths]))
            assert await old.says("EXEC") == {"n1": "STARTED"}
            status = await cluster.client().status("qwe")
            manifest = await store.manifest(pid, Digest(status.tree))
            assert [entry.path for entry in manifest.entries] == ["lib/main.py", "main.py"]

    run(main())
    assert "1 uploaded files are not in the program's folder 'dir'" in caplog.text


def test_what_cannot_be_started_is_answered_with_the_reason_and_one_line_in_the_log(
    small: Small, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(old_starting, "FIRST_ANSWER", 0.05)

    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            old, store, pid = Old(cluster), cluster.store, ProcessId("qwe")

            async def said() -> str:
                caplog.clear()
                answer = await old.asks("EXEC", {"PROCESS_ID": "qwe"})
                assert answer.data == {}
                assert not master.cluster.state.jobs
                assert len([each for each in caplog.records if each.levelname == "WARNING"]) == 1
                assert "an old client at memory asked to start 'qwe'" in caplog.text
                return str(answer.metadata["ERROR"])

            assert "No computing node is connected" in await said()
            await fake(cluster)
            nothing = await said()
            assert "Nothing was uploaded for 'qwe'" in nothing
            assert "does not serve old clients" in nothing
            await store.commit(pid, UPLOADED, Manifest([await put(cluster, "qwe/x.py", "x")]))
            assert "no main.py among the 1 files" in await said()
            files = [await put(cluster, path, "x") for path in ("main.py", "OUTPUT_PATH")]
            await store.commit(pid, UPLOADED, Manifest(files))
            assert "a file 'OUTPUT_PATH' where the folder" in await said()

            async def incomplete(self: MemoryStore, process_id: ProcessId) -> Digest:
                raise BadInput("'qwe/data' has 3 of 5 MB; upload it again.")

            monkeypatch.setattr(MemoryStore, "gather", incomplete)
            assert "3 of 5 MB" in await said()

            async def damaged(self: MemoryStore, process_id: ProcessId) -> Digest:
                raise BlobDamaged("'qwe/data' is damaged.")

            monkeypatch.setattr(MemoryStore, "gather", damaged)
            assert "'qwe/data' is damaged" in await said()

            async def silent(self: MemoryStore, process_id: ProcessId, tree: str) -> Digest:
                await asyncio.Event().wait()
                raise NoSuchTree

            monkeypatch.setattr(MemoryStore, "find", silent)
            assert "did not answer within" in await said()

    run(main())


def test_outputs_of_an_ended_job_are_shown_again_if_it_cannot_be_started_again(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node, other = await fake(cluster, "n1"), await fake(cluster, "n2")
            old = Old(cluster)
            await uploaded(cluster)
            await old.says("EXEC")
            await node.done((await node.told())[0], a="1")
            await other.done((await other.told())[0], b="2")
            await when(lambda: ended(old))
            before = await trees(cluster)
            given = MemoryStore.commit

            async def half(self: MemoryStore, pid: ProcessId, tree: str, manifest: Manifest) -> Digest:
                if tree == f"{SHOWN}qwe_2_2" and not manifest.entries:
                    raise Unreachable("no store at store:1")
                return await given(self, pid, tree, manifest)

            monkeypatch.setattr(MemoryStore, "commit", half)
            assert (await old.asks("EXEC", {"PROCESS_ID": "qwe"})).metadata == {"ERROR": "no store at store:1"}

            async def as_before() -> Any:
                return await trees(cluster) == before

            await until(as_before)
            assert (await when(lambda: ended(old))).metadata == {"STATE": "done"}

    run(main())


# --- READ_PROCESS_STATUS ----------------------------------------------------------------------------


def test_a_node_is_busy_with_its_part_and_all_are_while_parts_wait(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master(old_jobs=OldJobs(parts=3))
            old = Old(cluster)
            node, other = await fake(cluster, "n1", 1), await fake(cluster, "n2", 1)
            unknown = await old.asks("READ_PROCESS_STATUS", {"PROCESS_ID": "qwe"})
            assert (unknown.data, unknown.metadata) == ({"n1": False, "n2": False}, {"STATE": "unknown"})
            await uploaded(cluster)
            await old.says("EXEC")
            (first,), (second,) = await node.told(), await other.told()
            await fake(cluster, "n3", 1)  # it gets the third part
            await node.done(first)
            assert await old.says("READ_PROCESS_STATUS") == {"n1": False, "n2": True, "n3": True}
            await other.ended(second, End.EXIT)  # tried again, elsewhere if possible
            (_, again) = await node.told(2)
            assert await old.says("READ_PROCESS_STATUS") == {"n1": True, "n2": False, "n3": True}
            await node.link.close()  # its part is lost, and waits for a node, until that comes back
            answer = await when(lambda: lost(old))
            assert answer.metadata == {"STATE": "running"}
            assert again.part == second.part

    run(main())


async def lost(old: Old) -> OldAnswer | None:
    """The answer to READ_PROCESS_STATUS once n1 is shown although it is gone."""
    answer = await old.asks("READ_PROCESS_STATUS", {"PROCESS_ID": "qwe"})
    (count,) = (await old.asks("GET_NO_OF_NODES")).data.values()
    return answer if count == 2 and "n1" in answer.data else None


def test_it_reads_as_under_way_until_all_outputs_are_shown(
    small: Small, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(showing, "AGAIN", 0.02)
    monkeypatch.setattr(old_starting, "CATCH_UP", 0.05)
    gone = away(monkeypatch, "commit", shows)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master(old_jobs=OldJobs(parts=7))
            node, other = await fake(cluster, "n1", 6), await fake(cluster, "n2", 1)
            old = Old(cluster)
            await uploaded(cluster)
            await old.says("EXEC")
            for start in await node.told(6):
                await node.done(start, x=str(start.part))
            client = cluster.client()
            await other.done(*await other.told(), y="last")
            assert (await client.wait("qwe", 10)).state is JobState.DONE
            answer = await when(lambda: waiting(old))
            assert answer.data == {"n1": True, "n2": True}
            assert answer.metadata["STATE"] == "done"
            # Another run would replace what is not even shown yet.
            refused = await old.asks("EXEC", {"PROCESS_ID": "qwe"})
            assert "has not finished with the earlier run" in refused.metadata["ERROR"]
            gone.clear()
            answer = await when(lambda: ended(old))
            assert answer.metadata == {"STATE": "done"}
            assert sorted(await trees(cluster)) == [f"qwe_{part}_7" for part in range(1, 8)]

    run(main())
    assert len([each for each in caplog.records if "wait for the store" in each.message]) == 1


async def waiting(old: Old) -> OldAnswer | None:
    """The answer to READ_PROCESS_STATUS once outputs wait for the store."""
    answer = await old.asks("READ_PROCESS_STATUS", {"PROCESS_ID": "qwe"})
    return answer if "wait for the store: no store" in answer.metadata.get("REASON", "") else None


def test_a_job_that_failed_and_outputs_that_cannot_be_shown_are_told_with_the_reason(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node, other = await fake(cluster, "n1"), await fake(cluster, "n2")
            old = Old(cluster)
            await uploaded(cluster)
            await old.says("EXEC")
            (first,), (second,) = await node.told(), await other.told()
            await other.ended(second, End.DONE, "blake2b:" + "0" * 64)  # a tree that the store does not have
            answered = {second.attempt}

            async def failed() -> OldAnswer | None:
                for each, start in [(fake, start) for fake in (node, other) for start in fake.started]:
                    if start.attempt not in answered:
                        answered.add(start.attempt)
                        await each.ended(start, End.EXIT)
                return await ended(old)

            answer = await when(failed)
            assert answer.data == {"n1": False, "n2": False}
            assert answer.metadata["STATE"] == "failed"
            assert f"part {first.part} failed after 3 attempts" in answer.metadata["REASON"]
            assert f"outputs of part {second.part} cannot be shown" in answer.metadata["REASON"]

    run(main())


def test_outputs_whose_path_becomes_too_long_are_named() -> None:
    long = "/".join(["d" * 250] * 4)
    digest = "blake2b:" + "0" * 64
    kept = Manifest(
        [
            Entry("logs/out", 1, digest),
            Entry("collected/x", 1, digest),
            Entry(f"outputs/{long}/{'f' * 12}", 1, digest),
            Entry("outputs/a b/c", 1, digest, executable=True),
            Entry("outputs/empty", folder=True),
        ]
    )
    tree, left_out = shown_outputs(kept, "OUTPUT_PATH")
    assert [entry.path for entry in tree.entries] == ["OUTPUT_PATH/a b/c", "OUTPUT_PATH/empty"]
    assert tree.entries[0].executable
    (said,) = left_out
    assert "longer than 1024 bytes" in said


def test_a_job_of_a_new_client_is_told_too(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            old = Old(cluster)
            await cluster.client().submit(cluster.program(""), 1, process_id="new")
            assert (await old.asks("READ_PROCESS_STATUS", {"PROCESS_ID": "new"})).metadata == {"STATE": "waiting"}
            node = await fake(cluster)
            (start,) = await node.told()
            assert await old.says("READ_PROCESS_STATUS", "new") == {"n1": True}
            assert await old.says("EXEC", "new") == {"n1": "ALREADY_RUNNING"}
            await node.done(start, x="1")
            assert await old.says("READ_PROCESS_STATUS", "new") == {"n1": False}
            assert await trees(cluster, "new") == {}

    run(main())


# --- the nodes --------------------------------------------------------------------------------------


def test_nodes_are_counted_and_their_load_is_told(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            old = Old(cluster)
            assert (await old.asks("GET_NO_OF_NODES", {"any": "thing"})).data == {"NO_NODES": 0}
            assert (await old.asks("READ_NODE_LOAD")).data == {}
            node, gone = await fake(cluster, "n1"), await fake(cluster, "n2")
            await node.link.call("node.beat", to_plain(Beat(NodeLoad(12.5, 50.0, 3.25))))
            await gone.close()
            await until(lambda: not master.cluster.state.nodes[gone.name].live)
            await until(lambda: master.cluster.state.nodes[node.name].load.CPU_LOAD)
            load = {"CPU_LOAD": 12.5, "MEM_LOAD": 50.0, "MEM_USED": 3.25}
            assert (await old.asks("READ_NODE_LOAD")).data == {"n1": load}
            assert (await old.asks("GET_NO_OF_NODES", 7)).data == {"NO_NODES": 1}

    run(main())


# --- TERMINATE --------------------------------------------------------------------------------------


def _alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(os.name == "nt", reason="signal 0 ends a process there")
def test_what_is_answered_as_terminated_has_ended(small: Small, tmp_path: Path) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            for name in ("n1", "n2"):
                await cluster.node(name)
            old = Old(cluster)
            await uploaded(cluster, STAYS.format(place=str(tmp_path)))
            await old.says("EXEC")
            await until(lambda: len(list(tmp_path.glob("pid-*"))) == 2, 20)
            numbers = [int(path.read_text(encoding="utf-8")) for path in tmp_path.glob("pid-*")]
            assert all(map(_alive, numbers))
            assert await old.says("TERMINATE") == {"n1": "TERMINATED", "n2": "TERMINATED"}
            assert not any(map(_alive, numbers))
            answer = await ended(old)
            assert answer is not None
            assert answer.metadata == {"STATE": "stopped", "REASON": "stopped by an old client at memory"}
            assert await old.says("TERMINATE") == {"n1": "DO_NOT_EXIST", "n2": "DO_NOT_EXIST"}

    run(main(), 60)


def test_terminated_are_the_nodes_that_had_parts_of_the_job(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            old = Old(cluster)
            node, other = await fake(cluster, "n1", 1), await fake(cluster, "n2", 1)
            assert await old.says("TERMINATE") == {"n1": "DO_NOT_EXIST", "n2": "DO_NOT_EXIST"}
            await uploaded(cluster)
            await old.says("EXEC")
            (first,), (second,) = await node.told(), await other.told()
            await uploaded(cluster, "", "next")
            await old.says("EXEC", "next")  # nothing of it can be placed
            assert await old.says("TERMINATE", "next") == {"n1": "TERMINATED", "n2": "TERMINATED"}
            await node.done(first)
            asked = asyncio.ensure_future(old.says("TERMINATE"))
            await until(lambda: other.stopped)
            assert not asked.done()
            await other.ended(second, End.STOPPED)
            assert await asked == {"n1": "DO_NOT_EXIST", "n2": "TERMINATED"}

    run(main())


def test_a_node_whose_processes_do_not_end_is_not_called_terminated(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old_clients, "STOP_TIMEOUT", 0.2)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node, other = await fake(cluster, "n1", 1), await fake(cluster, "n2", 1)
            old = Old(cluster)
            await uploaded(cluster)
            await old.says("EXEC")
            (first,), (second,) = await node.told(), await other.told()
            asked = asyncio.ensure_future(old.asks("TERMINATE", {"PROCESS_ID": "qwe"}))
            await until(lambda: node.stopped)
            await node.ended(first, End.STOPPED)
            answer = await asked
            assert answer.data == {"n1": "TERMINATED"}
            assert "its parts on n2 have not ended" in answer.metadata["ERROR"]
            assert await old.says("READ_PROCESS_STATUS") == {"n1": False, "n2": True}
            with pytest.raises(DiscomputifyError, match=r"n2 have not ended .* Clear it again"):
                await old.says("CLEAR_DATA")
            await other.ended(second, End.STOPPED)
            assert await old.asks("CLEAR_DATA", {"PROCESS_ID": "qwe"}) == OldAnswer({"PROCESS_ID": "qwe"})

    run(main())


# --- CLEAR_DATA -------------------------------------------------------------------------------------


def test_a_running_job_is_stopped_and_cleared_with_all_its_files(small: Small, tmp_path: Path) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            await cluster.node("n1")
            old = Old(cluster)
            await uploaded(cluster, STAYS.format(place=str(tmp_path)))
            await old.says("EXEC")
            await until(lambda: list(tmp_path.glob("pid-*")), 20)
            data = {"PROCESS_ID": "qwe", "more": [1]}
            assert await old.asks("CLEAR_DATA", data) == OldAnswer(data)
            assert not master.cluster.state.jobs
            assert not cluster.store.contents.trees.get(ProcessId("qwe"))
            assert (await old.asks("EXEC", data)).metadata["ERROR"].startswith("Nothing was uploaded")

    run(main(), 60)


def test_what_was_uploaded_and_never_started_is_cleared(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            old = Old(cluster)
            await uploaded(cluster)
            assert await old.says("CLEAR_DATA") == {"PROCESS_ID": "qwe"}
            assert not cluster.store.contents.trees.get(ProcessId("qwe"))
            assert await old.says("CLEAR_DATA") == {"PROCESS_ID": "qwe"}

    run(main())


def test_a_store_that_is_away_is_cleared_later_and_once(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "CLEAR_TIMEOUT", 0.05)
    monkeypatch.setattr("discomputify_core.roles.master.master.STORE_AGAIN", 0.02)
    gone = away(monkeypatch, "clear", lambda process_id: True)

    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            await fake(cluster)
            old = Old(cluster)
            await uploaded(cluster)
            for _ in range(3):
                answer = await old.asks("CLEAR_DATA", {"PROCESS_ID": "qwe"})
                assert answer.data == {"PROCESS_ID": "qwe"}
                assert "is removed once it does" in answer.metadata["ERROR"]
                assert len(master.clearing) == 1
            refused = await old.asks("EXEC", {"PROCESS_ID": "qwe"})
            assert "has not finished with the earlier run" in refused.metadata["ERROR"]
            gone.clear()
            await until(lambda: not master.clearing)
            assert not cluster.store.contents.trees.get(ProcessId("qwe"))

    run(main())


def test_nothing_is_shown_of_a_job_that_was_cleared_meanwhile(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    given, reached, go = MemoryStore.commit, asyncio.Event(), asyncio.Event()

    async def slow(self: MemoryStore, pid: ProcessId, tree: str, manifest: Manifest) -> Digest:
        if tree.startswith(SHOWN):
            reached.set()
            await go.wait()
        return await given(self, pid, tree, manifest)

    monkeypatch.setattr(MemoryStore, "commit", slow)

    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            node = await fake(cluster)
            old = Old(cluster)
            await uploaded(cluster)
            await old.says("EXEC")
            await node.done((await node.told())[0], x="1")
            await asyncio.wait_for(reached.wait(), 10)
            cleared = asyncio.ensure_future(cluster.client().clear("qwe"))
            await until(lambda: master.clearing)
            assert not cleared.done()
            go.set()
            await cleared
            assert not cluster.store.contents.trees.get(ProcessId("qwe"))
            assert not master.showings._jobs

    run(main())


def test_a_commit_that_hangs_does_not_keep_a_job_from_being_cleared(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "LAST_COMMIT", 0.05)
    given, reached = MemoryStore.commit, asyncio.Event()

    async def hangs(self: MemoryStore, pid: ProcessId, tree: str, manifest: Manifest) -> Digest:
        if tree.startswith(SHOWN):
            reached.set()
            await asyncio.Event().wait()
        return await given(self, pid, tree, manifest)

    monkeypatch.setattr(MemoryStore, "commit", hangs)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster)
            old = Old(cluster)
            await uploaded(cluster)
            await old.says("EXEC")
            await node.done((await node.told())[0], x="1")
            await asyncio.wait_for(reached.wait(), 10)
            assert await old.says("CLEAR_DATA") == {"PROCESS_ID": "qwe"}
            assert not cluster.store.contents.trees.get(ProcessId("qwe"))

    run(main())
