"""One attempt from its files to its outcome: what each way to end is called, and what is kept of it."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import pytest

from discomputify_core.edge import clock
from discomputify_core.errors import (
    BlobDamaged,
    BlobMissing,
    ChannelClosed,
    DiscomputifyError,
    DiskError,
    MemoryLost,
    Refused,
    StoreFull,
    Unreachable,
)
from discomputify_core.interfaces.files import Blob
from discomputify_core.model.files import Entry, Manifest, check_digest
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.job import End, JobSpec, Outcome, Request
from discomputify_core.model.message import ArrayKept, ArrayWanted, Progress, Report, Start
from discomputify_core.model.node import NodeFacts
from discomputify_core.roles.node import arrays_kept, checkpoints, committing, fetching
from discomputify_core.roles.node import attempt as module
from discomputify_core.roles.node.agent_server import AgentServer
from discomputify_core.roles.node.arrays import Arrays
from discomputify_core.roles.node.attempt import PartAttempt, Tools
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.committing import Commits
from discomputify_core.roles.node.memory import NodeMemory
from discomputify_core.roles.node.reports import Reports
from discomputify_core.roles.runner.runner import Runner
from discomputify_testkit.confs import make_conf
from discomputify_testkit.fakes.memory_shared import FakeSharedMemory, FakeTable
from discomputify_testkit.fakes.memory_store import MemoryContents, MemoryStore, digest_of
from discomputify_testkit.running import run, until

FOREVER = "import time\nprint('begun', flush=True)\ntime.sleep(600)"


class Node:
    """What attempts of a node share, around a store in memory."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore(make_conf(), contents=MemoryContents())
        self.runner = Runner()
        self.agent = AgentServer()
        self.sent: list[Report] = []
        facts = NodeFacts(NodeName("n1"), 2, python="3.x", interpreter=sys.executable)
        cache = BlobCache(folder / "cache", 10_000_000)
        cache.open()
        self.cache = cache
        self.reports = Reports(self._send)
        commits = Commits(self.store, "store:1", self.meet)
        work = folder / "work"
        self.table = FakeSharedMemory(shared=FakeTable())
        self.arrays = Arrays(NodeName("n1"), folder, self.store, 10_000_000, self.ask_for_array)
        memory = NodeMemory(self.table, self.arrays)
        self.tools = Tools(
            facts, work, cache, self.store, self.runner, self.agent, self.reports, commits, make_conf(), memory
        )

    async def ask_for_array(self, wanted: ArrayWanted) -> ArrayKept:
        """There is no other node."""
        raise MemoryLost("There is no other node.")

    async def meet(self, timeout: float) -> None:
        """Reach the store, which is in this process."""

    async def _send(self, report: Report) -> None:
        self.sent.append(report)

    async def attempt(
        self,
        program: str,
        *,
        files: Mapping[str, bytes] = MappingProxyType({}),
        checkpoint: str = "",
        number: int = 1,
        **spec: Any,
    ) -> PartAttempt:
        """An attempt at part 2 of 3 of *program*, which has *files*."""
        pid, entries = ProcessId("job"), []
        for path, data in {"main.py": program.encode(), **files}.items():
            self.store.contents.blobs[digest_of(data)] = data
            entries.append(Entry(path, len(data), digest_of(data)))
        tree = await self.store.commit(pid, "program", Manifest(entries))
        job = JobSpec(pid, "key", 3, tree, **spec)

        def manifest(job: JobSpec) -> "asyncio.Future[Manifest]":
            return asyncio.ensure_future(self.store.manifest(job.process_id, check_digest(job.tree)))

        start = Start(pid, "key", AttemptId(f"job.2.{number}.key"), 2, number, checkpoint=checkpoint)
        return PartAttempt(self.tools, job, start, manifest, {})

    async def kept(self, outcome: Outcome) -> dict[str, bytes]:
        """What the store holds of an outcome."""
        manifest = await self.store.manifest(ProcessId("job"), check_digest(outcome.manifest))
        return {entry.path: self.store.contents.blobs[check_digest(entry.digest)] for entry in manifest.files}


Making = Callable[[], Any]


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """Makes a node, closed after use."""

    @asynccontextmanager
    async def made() -> AsyncIterator[Node]:
        node = Node(tmp_path)
        (tmp_path / "work").mkdir()
        await node.runner.start()
        await node.agent.start()
        try:
            yield node
            work = tmp_path / "work"
            assert not list(work.iterdir()), "an attempt left its folder"
        finally:
            await node.runner.close()
            await node.agent.close()
            await node.cache.close()
            await node.table.close()
            await node.arrays.close()

    return made


def outcome_of(making: Making, program: str, **spec: Any) -> tuple[Outcome, dict[str, bytes]]:
    async def main() -> tuple[Outcome, dict[str, bytes]]:
        async with making() as node:
            outcome = await (await node.attempt(program, **spec)).run()
            return outcome, await node.kept(outcome) if outcome.manifest else {}

    return run(main())


def test_outputs_and_logs_are_kept(making: Making) -> None:
    program = """
import os, sys
print("args", sys.argv[1:], flush=True)
print("warning", file=sys.stderr)
os.makedirs("OUTPUT_PATH/deep")
open("OUTPUT_PATH/deep/a.txt", "w").write("result")
open("stray.txt", "w").close()
open("wanted.txt", "w").write("w")
"""
    outcome, kept = outcome_of(making, program, args=("x",), collect=("wanted*",))
    assert (outcome.end, outcome.code, outcome.reason) == (End.DONE, 0, "")
    assert (outcome.output_files, outcome.output_bytes) == (1, 6)
    assert outcome.strays == ("stray.txt",)
    assert {path: text.replace(b"\r", b"") for path, text in kept.items()} == {
        "outputs/deep/a.txt": b"result",
        "collected/wanted.txt": b"w",
        "logs/out": b"args ['2', '3', 'job', 'x']\n",
        "logs/err": b"warning\n",
    }
    assert 0 < outcome.started_at <= outcome.ended_at


@pytest.mark.parametrize(
    ("program", "end", "code", "said"),
    [
        ("import sys; sys.exit(3)", End.EXIT, 3, "ended with exit code 3"),
        ("raise ValueError('bad number')", End.EXIT, 1, "ValueError: bad number"),
        ("this is no python", End.EXIT, 1, "SyntaxError"),
        ("import no_such_module_at_all", End.EXIT, 1, "pip install no_such_module_at_all"),
    ],
)
def test_a_program_that_fails(making: Making, program: str, end: End, code: int, said: str) -> None:
    outcome, kept = outcome_of(making, "open('OUTPUT_PATH/half', 'w').close()\n" + program)
    assert (outcome.end, outcome.code) == (end, code)
    assert said in outcome.reason
    assert not [path for path in kept if path.startswith("outputs")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_program_that_is_killed(making: Making) -> None:
    outcome, _ = outcome_of(making, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert (outcome.end, outcome.code) == (End.SIGNAL, 9)
    assert "SIGKILL" in outcome.reason


#: Does something to its outputs after it has said and written something.
BEGINS = "import os\nprint('said', flush=True)\no = 'OUTPUT_PATH'\nopen(o + '/good', 'w').close()\n"
REPLACED = "removed or replaced its OUTPUT_PATH: OUTPUT_PATH is "


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
@pytest.mark.parametrize(
    ("does", "reason"),
    [
        (
            "os.symlink('/etc/passwd', o + '/link')",
            "The link OUTPUT_PATH/link leads out of the folder, to /etc/passwd.",
        ),
        ("os.mkfifo(o + '/pipe')", "OUTPUT_PATH/pipe is a named pipe, which cannot be part of a tree."),
        ("open(o + '/con', 'w').close()", "The path 'con' may not be used: 'con' is a reserved name."),
        (
            "open(o + '/trail.', 'w').close()",
            "The path 'trail.' may not be used: a component ends in a space or a dot.",
        ),
        ("open(o + '/C:x', 'w').close()", "The path 'C:x' may not be used: it is absolute."),
        ("os.rename(o, 'x')", REPLACED + "gone"),
        ("os.rename(o, 'x'); open(o, 'w').close()", REPLACED + "no folder now"),
        ("os.rename(o, 'x'); os.symlink('/etc', o)", REPLACED + "a link now"),
        ("os.rename(o, 'x'); os.symlink('x', o)", REPLACED + "a link now"),
        (
            "os.rename('../work', '../x'); os.symlink('/etc', '../work')",
            "removed or replaced its OUTPUT_PATH: its work folder is a link now",
        ),
    ],
)
def test_outputs_that_cannot_be_kept_fail_the_attempt_which_keeps_its_logs(
    making: Making, does: str, reason: str
) -> None:
    outcome, kept = outcome_of(making, BEGINS + does)
    assert (outcome.end, outcome.code, outcome.output_files) == (End.EXIT, 0, 0)
    assert outcome.reason in (reason, "left outputs that cannot be kept: " + reason)
    assert {path: text.strip() for path, text in kept.items()} == {"logs/out": b"said"}


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_no_link_above_output_path_is_followed(making: Making) -> None:
    does = "import os\nos.rename('a', 'x')\nos.makedirs('y/b')\nos.symlink('y', 'a')"
    outcome, _ = outcome_of(making, does, output_path="a/b")
    assert (outcome.end, outcome.reason) == (End.EXIT, "removed or replaced its a/b: a is a link now")


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be made there")
def test_of_many_problems_the_first_are_named(making: Making) -> None:
    program = "for number in range(300): open(f'OUTPUT_PATH/{number:0200}.', 'w').close()"
    outcome, _ = outcome_of(making, program)
    assert len(outcome.reason) <= 2000
    assert outcome.reason.count("The path") == 10
    assert outcome.reason.endswith("… and 290 more.")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_what_cannot_be_collected_is_named_and_fails_nothing(making: Making, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    program = f"""
import os
os.mkfifo("pipe")
os.symlink({str(tmp_path / "secret")!r}, "link")
os.symlink({str(tmp_path)!r}, "folder")
os.symlink("good", "inside")
open("nul.txt", "w").close()
open("good", "w").write("good")
os.mkdir("locked")
open("locked/in", "w").close()
os.chmod("locked", 0o400)
"""
    outcome, kept = outcome_of(making, program, collect=("/pipe", "link", "folder", "inside", "nul*", "/good"))
    assert (outcome.end, outcome.reason) == (End.DONE, "")
    assert kept == {"collected/good": b"good", "collected/inside": b"good"}
    assert outcome.unkept == (
        f"The link folder leads out of the folder, to {tmp_path}.",
        f"The link link leads out of the folder, to {tmp_path / 'secret'}.",
        "The path 'nul.txt' may not be used: 'nul.txt' is a reserved name.",
        "pipe is a named pipe, which cannot be part of a tree.",
    )
    assert outcome.strays == ("locked/in",)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_in_the_place_of_a_log_is_not_followed(making: Making, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    program = f"import os; os.remove('../out'); os.symlink({str(tmp_path / 'secret')!r}, '../out')"
    assert outcome_of(making, program)[1] == {}


def test_logs_are_kept_where_the_store_takes_no_outputs(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    put = MemoryStore.put

    async def nearly_full(self: MemoryStore, pid: ProcessId, blobs: Sequence[Blob], *about: Any) -> None:
        if sum(blob.size for blob in blobs) > 100:
            raise DiskError("the store's disk is full")
        await put(self, pid, blobs)

    monkeypatch.setattr(MemoryStore, "put", nearly_full)
    outcome, kept = outcome_of(making, "print('said'); open('OUTPUT_PATH/big', 'wb').write(bytes(1000))")
    assert outcome.end is End.BROKEN
    assert outcome.reason == "ran, but what it left could not be kept: the store's disk is full"
    assert {path: text.strip() for path, text in kept.items()} == {"logs/out": b"said"}


def test_files_that_cannot_be_had_break_the_attempt(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lost(self: MemoryStore, *about: Any) -> None:
        raise BlobMissing("the store lacks it")

    monkeypatch.setattr(MemoryStore, "get", lost)
    monkeypatch.setattr(fetching, "MENDING", -1.0)
    outcome, _ = outcome_of(making, "print(1)")
    assert outcome.end is End.BROKEN
    assert outcome.reason == "could not be run: the store lacks it"


def test_files_that_the_store_lost_are_waited_for_and_asked_about(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, asked, said = MemoryStore.get, list[str](), list[Progress]()

    async def mended(self: MemoryStore, *about: Any) -> None:
        if not asked:
            raise BlobDamaged("it is damaged")
        await get(self, *about)

    monkeypatch.setattr(MemoryStore, "get", mended)
    monkeypatch.setattr(clock, "jittered", lambda seconds: 0.0)

    async def main() -> None:
        async with making() as node:
            node.tools = attrs.evolve(node.tools, lost=lambda: asked.append("lost"))
            monkeypatch.setattr(node.reports, "progress", said.append)
            assert (await (await node.attempt("print(1)")).run()).end is End.DONE

    run(main())
    assert asked == ["lost"]
    assert [each.waiting for each in said] == [
        "the store at store:1 has lost some of its files; asking who still has them",
        "",
    ]


@pytest.mark.parametrize("error", [Unreachable, ChannelClosed, Refused])
def test_a_store_that_is_away_when_a_part_starts_is_waited_for(
    making: Making, monkeypatch: pytest.MonkeyPatch, error: type[DiscomputifyError]
) -> None:
    get, tries, said = MemoryStore.get, list[int](), list[Progress]()

    async def away(self: MemoryStore, *about: Any) -> None:
        tries.append(1)
        if len(tries) < 4:
            raise error("no store at store:1")
        await get(self, *about)

    monkeypatch.setattr(MemoryStore, "get", away)
    monkeypatch.setattr(clock, "jittered", lambda seconds: 0.0)

    async def main() -> None:
        async with making() as node:
            monkeypatch.setattr(node.reports, "progress", said.append)
            assert (await (await node.attempt("print(1)")).run()).end is End.DONE

    run(main())
    first, last = said
    assert re.fullmatch(r"its files wait for the store at store:1 \(since ..:..:.. UTC\)", first.waiting)
    assert last.waiting == ""


def test_a_store_that_hangs_when_a_part_starts_is_noticed(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    get, noticed, there = MemoryStore.get, asyncio.Event(), list[bool]()

    async def hangs(self: MemoryStore, *about: Any) -> None:
        await noticed.wait()
        await get(self, *about)

    async def meet(self: Node, timeout: float) -> None:
        if not there:
            raise Unreachable("nothing answers at store:1")

    monkeypatch.setattr(MemoryStore, "get", hangs)
    monkeypatch.setattr(Node, "meet", meet)
    monkeypatch.setattr(fetching, "SLOW", 0.01)

    async def main() -> None:
        async with making() as node:
            said: list[str] = []

            def progress(progress: Progress) -> None:
                said.append(progress.waiting)
                there.append(True)
                if len(said) == 2:
                    noticed.set()

            monkeypatch.setattr(node.reports, "progress", progress)
            assert (await (await node.attempt("print(1)")).run()).end is End.DONE
            assert [bool(each) for each in said] == [True, False]

    run(main())


def test_a_part_whose_store_stays_away_is_given_back(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(self: MemoryStore, *about: Any) -> None:
        raise Unreachable("no store at store:1")

    monkeypatch.setattr(MemoryStore, "get", away)
    assert fetching.PATIENCE >= 600
    monkeypatch.setattr(fetching, "PATIENCE", -1.0)
    outcome, _ = outcome_of(making, "print(1)")
    assert outcome.end is End.RETURNED
    assert "the store at store:1 was away" in outcome.reason
    assert "no store at store:1" in outcome.reason


def test_a_bug_in_the_node_costs_this_attempt_only(
    making: Making, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def bug(*about: Any, **more: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(module, "environment", bug)
    outcome, _ = outcome_of(making, "print(1)")
    assert outcome.end is End.BROKEN
    assert "a bug in discomputify: ZeroDivisionError" in outcome.reason
    assert "oops" in caplog.text


def test_a_store_that_is_away_for_a_moment_is_waited_for(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    put, tries = MemoryStore.put, []

    async def away(self: MemoryStore, *about: Any) -> None:
        tries.append(about)
        if len(tries) == 1:
            raise Unreachable("no store")
        await put(self, *about)

    monkeypatch.setattr(MemoryStore, "put", away)
    outcome, kept = outcome_of(making, "open('OUTPUT_PATH/a', 'w').write('x')")
    assert (outcome.end, kept) == (End.DONE, {"outputs/a": b"x"})


def test_a_wait_for_the_store_is_told_and_logged(
    making: Making, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    async def away(self: Node, timeout: float) -> None:
        tries.append(timeout)
        if len(tries) < 3:
            raise Unreachable("nothing answers at store:1")

    monkeypatch.setattr(Node, "meet", away)
    monkeypatch.setattr(clock, "jittered", lambda seconds: 0.0)
    program = "from discomputify_core import program\nprogram.progress(0.5, 'half')\n"

    async def main() -> None:
        async with making() as node:
            told: list[Progress] = []
            monkeypatch.setattr(node.reports, "progress", told.append)
            outcome = await (await node.attempt(program)).run()
            assert outcome.end is End.DONE
            assert [(each.fraction, each.note) for each in told] == [(0.5, "half")] * 2
            assert not told[0].waiting
            wanted = r"its program has ended; its outputs wait for the store at store:1 \(since ..:..:.. UTC\)"
            assert re.fullmatch(wanted, told[1].waiting)

    run(main())
    assert caplog.text.count("nothing answers at store:1") == 1
    assert max(tries) < 10


def test_outputs_that_take_long_to_arrive_are_told_of(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    put, told = MemoryStore.put, asyncio.Event()

    async def slow(self: MemoryStore, *about: Any) -> None:
        await told.wait()
        await put(self, *about)

    monkeypatch.setattr(MemoryStore, "put", slow)
    monkeypatch.setattr(committing, "SLOW", 0.0)

    async def main() -> None:
        async with making() as node:
            said: list[Progress] = []

            def progress(progress: Progress) -> None:
                said.append(progress)
                told.set()

            monkeypatch.setattr(node.reports, "progress", progress)
            assert (await (await node.attempt("print(1)")).run()).end is End.DONE
            assert "its outputs are on their way to the store at store:1 (since" in said[0].waiting

    run(main())


@pytest.mark.parametrize("error", [Unreachable, ChannelClosed, Refused, StoreFull])
@pytest.mark.parametrize("end", [End.STOPPED, End.RETURNED])
def test_finished_outputs_wait_until_their_attempt_is_ended(
    making: Making, monkeypatch: pytest.MonkeyPatch, error: type[DiscomputifyError], end: End
) -> None:
    async def away(self: MemoryStore, *about: Any) -> None:
        raise error("there is no room")

    monkeypatch.setattr(MemoryStore, "put", away)
    monkeypatch.setattr(committing, "PATIENCE", -1.0)

    async def main() -> None:
        async with making() as node:
            said: list[str] = []
            monkeypatch.setattr(node.reports, "progress", lambda progress: said.append(progress.waiting))
            attempt = await node.attempt("open('OUTPUT_PATH/a', 'w').write('x')")
            running = asyncio.ensure_future(attempt.run())
            await until(lambda: said, 20)
            await attempt.stop(end, "somebody asked")
            outcome = await running
            assert (outcome.end, outcome.reason, outcome.manifest) == (end, "somebody asked", "")
            what = "wait for room in" if error is StoreFull else "wait for"
            assert f"its program has ended; its outputs {what} the store at store:1 (since" in said[0]

    run(main())


def test_outputs_come_home_when_the_store_has_room_again(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    put, tries = MemoryStore.put, []

    async def full(self: MemoryStore, *about: Any) -> None:
        tries.append(about)
        if len(tries) < 4:
            raise StoreFull("no room")
        await put(self, *about)

    monkeypatch.setattr(MemoryStore, "put", full)
    monkeypatch.setattr(clock, "jittered", lambda seconds: 0.0)
    outcome, kept = outcome_of(making, "open('OUTPUT_PATH/a', 'w').write('x')")
    assert (outcome.end, kept) == (End.DONE, {"outputs/a": b"x"})


def test_blobs_that_the_store_lost_before_the_commit_are_sent_again(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, tries = MemoryStore.commit, []

    async def forgetful(self: MemoryStore, pid: ProcessId, tree: str, manifest: Manifest) -> Any:
        tries.append(tree)
        if len(tries) == 2:  # the first one is the program's
            raise BlobMissing("lost it")
        return await commit(self, pid, tree, manifest)

    monkeypatch.setattr(MemoryStore, "commit", forgetful)
    monkeypatch.setattr(clock, "jittered", lambda seconds: 0.0)
    outcome, kept = outcome_of(making, "open('OUTPUT_PATH/a', 'w').write('x')")
    assert (outcome.end, kept, len(tries)) == (End.DONE, {"outputs/a": b"x"}, 3)


def test_logs_of_a_failure_wait_for_a_while_only(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(self: MemoryStore, *about: Any) -> None:
        raise Unreachable("no store")

    monkeypatch.setattr(MemoryStore, "put", away)
    monkeypatch.setattr(committing, "PATIENCE", -1.0)
    outcome, _ = outcome_of(making, "print('x'); raise SystemExit(4)")
    assert (outcome.end, outcome.code, outcome.manifest) == (End.EXIT, 4, "")


def test_the_end_of_a_failed_program_is_told_even_if_its_logs_cannot_be_kept(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: MemoryStore, *about: Any) -> None:
        raise DiskError("the store's disk is full")

    monkeypatch.setattr(MemoryStore, "put", full)
    outcome, _ = outcome_of(making, "print('x'); raise SystemExit(4)")
    assert (outcome.end, outcome.code, outcome.manifest) == (End.EXIT, 4, "")


LAZY = """
from discomputify_core import program
print("asks", flush=True)
print(program.open("a.txt").read())
"""


@pytest.mark.parametrize("back", [True, False])
def test_a_store_that_is_away_when_a_program_asks_for_an_input(
    making: Making, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    get, tries = MemoryStore.get, list[int]()

    async def away(self: MemoryStore, pid: ProcessId, blobs: Sequence[Blob], *about: Any) -> None:
        if any(blob.digest == digest_of(b"lazy") for blob in blobs):
            tries.append(1)
            if not back or len(tries) < 3:
                raise Unreachable("no store at store:1")
        await get(self, pid, blobs, *about)

    monkeypatch.setattr(MemoryStore, "get", away)
    monkeypatch.setattr(clock, "jittered", lambda seconds: 0.0)
    monkeypatch.setattr(fetching, "PATIENCE", 600.0 if back else -1.0)

    async def main() -> None:
        async with making() as node:
            attempt = await node.attempt(LAZY, files={"INPUT_PATH/a.txt": b"lazy"}, inputs="lazy")
            outcome = await attempt.run()
            if back:
                assert outcome.end is End.DONE
                assert (await node.kept(outcome))["logs/out"].split() == [b"asks", b"lazy"]
            else:
                assert outcome.end is End.RETURNED
                assert "could not go on: the store at store:1 was away" in outcome.reason

    run(main())


# --- limits and the report of a death -----------------------------------------------------------------


@pytest.mark.parametrize("good", [True, False])
def test_what_a_program_used_is_told(making: Making, good: bool) -> None:
    program = f"""
import sys, time
held = bytearray(50_000_000)
end = time.process_time() + 0.2
while time.process_time() < end: pass
for line in range(80): print("line", line, file=sys.stderr)
sys.exit({0 if good else 3})
"""
    outcome, _ = outcome_of(making, program)
    assert outcome.end is (End.DONE if good else End.EXIT)
    assert outcome.stderr_tail.splitlines() == [f"line {number}" for number in range(30, 80)]
    assert 0 < outcome.started_at <= outcome.ended_at
    if sys.platform != "win32":
        assert 0.2 <= outcome.cpu_seconds < 10
        assert 50_000_000 < outcome.peak_memory < 500_000_000


def test_a_program_that_takes_too_long(making: Making) -> None:
    outcome, kept = outcome_of(making, FOREVER, time_limit=0.8)
    assert outcome.end is End.TIME_LIMIT
    assert re.fullmatch(r"ran for \d+\.\d s, its time limit is 0\.8 s", outcome.reason)
    assert kept["logs/out"].strip() == b"begun"


@pytest.mark.parametrize("asked", [{"memory_limit": 2**26}, {"request": Request(memory=2**26)}])
def test_a_program_that_uses_too_much_memory(making: Making, asked: dict[str, Any]) -> None:
    outcome, _ = outcome_of(making, f"import time\nheld = bytearray({2**27})\ntime.sleep(600)", **asked)
    assert outcome.end is End.MEMORY_LIMIT
    assert re.fullmatch(r"used \d+\.\d MiB, its limit is 64\.0 MiB", outcome.reason)
    assert outcome.peak_memory > 2**26


# --- checkpoints --------------------------------------------------------------------------------------

KEEPS = """
import os, pathlib
from discomputify_core import program
place = pathlib.Path(os.environ["DISCOMPUTIFY_CHECKPOINT_PATH"])
found = {path.relative_to(place).as_posix(): path.read_text() for path in sorted(place.rglob("*")) if path.is_file()}
print(found, program.attempt(), flush=True)
(place / "deep").mkdir(exist_ok=True)
(place / "deep/steps").write_text(str(int(found.get("deep/steps", 0)) + 1))
(place / f"only-{program.attempt()}").write_text("x")
(place / f"only-{program.attempt() - 1}").unlink(missing_ok=True)
program.checkpoint()
(place / "later").write_text("never kept")
"""


def newest_of(node: Node) -> str:
    """The checkpoint that was reported last."""
    return [kept.manifest for kept in node.reports._kept.values()][-1]


def test_the_next_attempt_finds_what_was_kept(making: Making) -> None:
    async def main() -> None:
        async with making() as node:
            first = await node.attempt(KEEPS + "raise SystemExit(1)")
            outcome = await first.run()
            assert (outcome.end, outcome.strays) == (End.EXIT, ())
            digest = newest_of(node)
            assert first.checkpointed
            second = await node.attempt(KEEPS, checkpoint=digest, number=2)
            outcome = await second.run()
            assert (outcome.end, outcome.output_files, outcome.strays) == (End.DONE, 0, ())
            said = (await node.kept(outcome))["logs/out"].decode()
            assert said.strip() == "{'deep/steps': '1', 'only-1': 'x'} 2"
            newest = newest_of(node)
            third = await node.attempt(KEEPS, checkpoint=newest, number=3)
            said = (await node.kept(await third.run()))["logs/out"].decode()
            assert said.strip() == "{'deep/steps': '2', 'only-2': 'x'} 3"
            # One tree for all attempts of the part.
            assert [tree for tree in node.store.contents.trees["job"] if "checkpoint" in tree] == ["checkpoint/2.0"]
            # What the master knows of was replaced before it heard of that.
            late = await node.attempt(KEEPS, checkpoint=digest, number=4)
            said = (await node.kept(await late.run()))["logs/out"].decode()
            assert said.strip() == "{'deep/steps': '3', 'only-3': 'x'} 4"

    run(main())


def test_a_checkpoint_that_is_lost_is_none(making: Making, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with making() as node:
            attempt = await node.attempt(KEEPS, checkpoint="blake2b:" + "0" * 64, number=2)
            said = (await node.kept(await attempt.run()))["logs/out"].decode()
            assert said.strip() == "{} 2"

    run(main())
    assert "begins anew, its checkpoint is lost" in caplog.text


CATCHES = """
try:
    program.checkpoint()
except program.ProgramError as error:
    print("no:", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("os.mkfifo(place / 'pipe')", "pipe is a named pipe, which cannot be part of a tree."),
        ("os.symlink('/etc/passwd', place / 'link')", "leads out of the folder, to /etc/passwd."),
        ("place.rename(place.with_name('x'))", "DISCOMPUTIFY_CHECKPOINT_PATH is gone"),
        ("place.rename(place.with_name('x')); place.symlink_to('/etc')", "the program replaced it"),
    ],
)
def test_what_cannot_be_kept_is_said_and_the_last_one_stays(making: Making, does: str, said: str) -> None:
    async def main() -> None:
        async with making() as node:
            outcome = await (await node.attempt(KEEPS + does + CATCHES)).run()
            assert outcome.end is End.DONE, outcome
            told = (await node.kept(outcome))["logs/out"].decode()
            assert "no: The checkpoint could not be kept: " in told
            assert said in told
            digest = newest_of(node)
            tree = await node.store.manifest(ProcessId("job"), check_digest(digest))
            assert [entry.path for entry in tree.entries] == ["deep/steps", "only-1"]

    run(main())


@pytest.mark.parametrize("error", [StoreFull, Unreachable, DiskError])
def test_a_store_that_cannot_take_a_checkpoint_is_told_to_the_program(
    making: Making, monkeypatch: pytest.MonkeyPatch, error: type[DiscomputifyError]
) -> None:
    put = MemoryStore.put

    async def full(self: MemoryStore, pid: ProcessId, blobs: Sequence[Blob], *about: Any) -> None:
        if any("checkpoint" in blob.path.parts for blob in blobs):
            raise error("no room on the store's disk")
        await put(self, pid, blobs)

    monkeypatch.setattr(MemoryStore, "put", full)
    monkeypatch.setattr(checkpoints, "PATIENCE", -1.0)
    program = "from discomputify_core import program\nimport os\n"
    program += "open(os.environ['DISCOMPUTIFY_CHECKPOINT_PATH'] + '/a', 'w').write('a')" + CATCHES
    outcome, kept = outcome_of(making, program)
    assert outcome.end is End.DONE
    assert kept["logs/out"].decode().strip() == "no: The checkpoint could not be kept: no room on the store's disk"


# --- stopping -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [End.STOPPED, End.RETURNED])
def test_a_running_program_is_stopped(making: Making, end: End) -> None:
    async def main() -> None:
        async with making() as node:
            attempt = await node.attempt(FOREVER)
            running = asyncio.ensure_future(attempt.run())
            await until(lambda: attempt.workspace is not None and attempt.workspace.out.exists())
            await until(lambda: attempt.workspace.out.stat().st_size)
            await attempt.stop(end, "somebody asked")
            await attempt.stop(End.STOPPED, "somebody asked again")
            outcome = await running
            assert (outcome.end, outcome.reason) == (end, "somebody asked")
            if end is End.STOPPED:
                assert "logs/out" in await node.kept(outcome)

    run(main())


def test_an_attempt_that_was_stopped_before_it_began_runs_nothing(making: Making) -> None:
    async def main() -> None:
        async with making() as node:
            attempt = await node.attempt(FOREVER)
            await attempt.stop(End.STOPPED, "never mind")
            outcome = await attempt.run()
            assert (outcome.end, outcome.reason) == (End.STOPPED, "never mind")
            assert attempt.workspace is None

    run(main())


def test_stopping_does_not_wait_for_files(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching = asyncio.Event()

    async def stuck(self: MemoryStore, *about: Any) -> None:
        fetching.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(MemoryStore, "get", stuck)

    async def main() -> None:
        async with making() as node:
            attempt = await node.attempt(FOREVER)
            running = asyncio.ensure_future(attempt.run())
            await fetching.wait()
            await attempt.stop(End.RETURNED, "planned")
            assert (await running).end is End.RETURNED

    run(main())


def test_a_tree_that_was_given_up_breaks_the_attempt_and_cancels_nobody(making: Making) -> None:
    async def main() -> None:
        async with making() as node:
            attempt = await node.attempt(FOREVER)
            given_up: asyncio.Future[Manifest] = asyncio.get_running_loop().create_future()
            given_up.cancel()
            attempt._manifest = lambda spec: given_up
            outcome = await attempt.run()
            assert outcome.end is End.BROKEN
            assert "given up" in outcome.reason

    run(main())


def test_a_cancelled_attempt_leaves_no_folder(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching = asyncio.Event()

    async def stuck(self: MemoryStore, *about: Any) -> None:
        fetching.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(MemoryStore, "get", stuck)

    async def main() -> None:
        async with making() as node:
            running = asyncio.ensure_future((await node.attempt(FOREVER)).run())
            await fetching.wait()
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled()

    run(main())


def test_progress_is_passed_on(making: Making) -> None:
    program = """
from discomputify_core import program
program.progress(0.25, "a quarter")
"""

    async def main() -> None:
        async with making() as node:
            sending = asyncio.ensure_future(node.reports.run())
            outcome = await (await node.attempt(program)).run()
            assert outcome.end is End.DONE, outcome
            assert await node.reports.drained(5)
            told = [(each.fraction, each.note) for report in node.sent for each in report.progress]
            assert told == [(0.25, "a quarter")]
            assert [each for report in node.sent for each in report.started] == ["job.2.1.key"]
            sending.cancel()
            await asyncio.wait([sending])

    run(main())


# --- shared memory ------------------------------------------------------------------------------------

WAITS_FOR_MEMORY = """
from discomputify_core import errors, program
try:
    program.memory().get("never", wait=600)
except errors.MemoryLost as lost:
    print("lost:", lost, flush=True)
    {then}
"""


def lose_while_it_waits(making: Making, then: str, *, told: bool) -> tuple[Outcome, dict[str, bytes]]:
    """What becomes of a program that waits in the memory when that is lost; *told*: its node ends it, too."""

    async def main() -> tuple[Outcome, dict[str, bytes]]:
        async with making() as node:
            attempt = await node.attempt(WAITS_FOR_MEMORY.format(then=then))
            running = asyncio.ensure_future(attempt.run())
            await until(lambda: node.table.shared.scopes, 20)
            if told:
                await attempt.lose_memory("the shared memory is lost: somebody pulled the plug")
            else:
                node.table.lose("somebody pulled the plug")
            outcome = await running
            return outcome, await node.kept(outcome) if outcome.manifest else {}

    return run(main())


@pytest.mark.parametrize(
    ("then", "told"), [("raise", False), ("raise SystemExit(7)", False), ("import time; time.sleep(600)", True)]
)
def test_an_attempt_that_lost_its_memory_is_lost_and_keeps_its_logs(making: Making, then: str, told: bool) -> None:
    outcome, kept = lose_while_it_waits(making, then, told=told)
    assert (outcome.end, outcome.memory_lost) == (End.LOST, True)
    assert "pulled the plug" in outcome.reason
    assert ("logs/out" in kept) == (not told)


def test_one_that_comes_to_a_good_end_without_its_memory_is_done(making: Making) -> None:
    outcome, _ = lose_while_it_waits(making, "pass", told=False)
    assert (outcome.end, outcome.memory_lost) == (End.DONE, False)


def test_one_that_never_used_the_memory_does_not_care(making: Making) -> None:
    async def main() -> None:
        async with making() as node:
            attempt = await node.attempt(FOREVER)
            running = asyncio.ensure_future(attempt.run())
            await until(lambda: attempt.workspace is not None and attempt._launched, 20)
            await attempt.lose_memory("lost")
            assert attempt.stopping is None
            await attempt.stop(End.RETURNED, "its node stops as planned")
            await attempt.lose_memory("lost")
            outcome = await running
            assert (outcome.end, outcome.memory_lost) == (End.RETURNED, False)

    run(main())


def test_what_an_attempt_reserved_goes_with_it(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays_kept, "GRACE", 0.1)
    program = """
import pathlib
from discomputify_core import program
memory = program.memory()
memory["kept"] = bytes(2_000_000)
memory.set("mine", bytes(2_000_000), ephemeral=True)
assert memory["kept"] == bytes(2_000_000)
"""

    async def main() -> None:
        async with making() as node:
            outcome = await (await node.attempt(program)).run()
            assert (outcome.end, outcome.stderr_tail) == (End.DONE, "")
            (job,) = node.arrays._jobs.values()
            await until(lambda: len(list((job.folder.result()).iterdir())) == 1)
            assert [use.attempt for report in (node.reports._take(),) for use in report.uses_memory] == [
                AttemptId("job.2.1.key")
            ]

    run(main())
