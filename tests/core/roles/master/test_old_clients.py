"""What old clients (CYPHER/1) ask the master: refused, watched, stopped and cleared."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.errors import BadInput, DiscomputifyError, PeerBroke, Refused
from discomputify_core.model.codec import to_plain
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import End
from discomputify_core.model.message import Beat
from discomputify_core.model.node import NodeLoad
from discomputify_core.model.old_clients import OLD_REQUEST, OldAnswer
from discomputify_core.roles.master import ending, old_clients
from discomputify_core.roles.master.old_starting import OldJobs
from discomputify_testkit.running import run, until

from .old_kit import STAYS, Old, away, ended, fake, trees, uploaded, when

Small = Callable[[], Any]

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
