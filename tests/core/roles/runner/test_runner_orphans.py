"""Nothing that a part started outlives it, nor its node, nor its runner."""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from discomputify_core.errors import DiscomputifyError
from discomputify_core.model.ids import AttemptId
from discomputify_core.roles.runner import runner as runner_module
from discomputify_core.roles.runner import tree_linux, tree_scan
from discomputify_core.roles.runner.runner import Launch, Runner
from discomputify_core.roles.runner.tree import Claim
from discomputify_testkit.running import run, until

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lets a process adopt orphans")

#: Starts processes that write their pid to a file of their kind's name, waits for the files, and goes on.
CHILDREN = '''
import os, signal, subprocess, sys, time

SLEEPER = """
import os, signal, sys
open(sys.argv[1] + '.part', 'w').write(str(os.getpid()))
os.rename(sys.argv[1] + '.part', sys.argv[1])
while True: signal.pause()
"""
NULL = subprocess.DEVNULL
kinds = sys.argv[1].split(",")
for kind in kinds:
    path = os.path.join(os.getcwd(), kind + "." + os.environ["DISCOMPUTIFY_ATTEMPT_ID"])
    argv = [sys.executable, "-S", "-c", SLEEPER, path]
    if kind == "holder":
        subprocess.Popen(argv)
    if kind == "plain":
        subprocess.Popen(argv, stdout=NULL, stderr=NULL)
    if kind == "session":
        subprocess.Popen(argv, stdout=NULL, stderr=NULL, start_new_session=True)
    if kind == "stubborn":
        argv[3] = "import signal; signal.signal(15, signal.SIG_IGN)" + SLEEPER
        subprocess.Popen(argv, stdout=NULL, stderr=NULL, start_new_session=True)
    if kind == "family":
        inner = "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', sys.argv[1], sys.argv[2]])"
        subprocess.Popen(argv[:3] + [inner, SLEEPER, path], stdout=NULL, stderr=NULL, start_new_session=True)
    if kind == "daemon" and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir("/")
            null = os.open(os.devnull, os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            os.execve(sys.executable, argv, {})
        os._exit(0)
    while not os.path.exists(path):
        time.sleep(0.002)
print("ready", flush=True)
'''
AND_END = CHILDREN + "os._exit(3)"
AND_STAY = CHILDREN + "while True: signal.pause()"
ALL = "holder,plain,session,stubborn,family,daemon"


class Home:
    """A folder for parts, and the processes that they wrote down in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def launch(self, code: str, kinds: str, name: str = "a") -> Launch:
        argv = (sys.executable, "-S", "-c", code, kinds)
        env = {"PATH": os.environ["PATH"]}
        out, err = self.folder / f"{name}-out", self.folder / f"{name}-err"
        return Launch(AttemptId(name), argv, self.folder, env, out, err)

    async def ready(self, name: str = "a") -> None:
        await until(lambda: "ready" in (self.folder / f"{name}-out").read_text(encoding="utf-8"))

    def pids(self) -> list[int]:
        names = ALL.split(",")
        files = [path for path in self.folder.iterdir() if path.stem in names and not path.name.endswith(".part")]
        return [int(path.read_text(encoding="utf-8")) for path in files]

    def living(self) -> list[int]:
        return [pid for pid in self.pids() if alive(pid)]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A folder for parts; nothing they started may be left in the end."""
    found = Home(tmp_path)
    yield found
    left = found.living()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def with_runner(use: Callable[[Runner], Awaitable[None]], *, threads: bool = False) -> None:
    async def main() -> None:
        runner = Runner(threads=threads)
        try:
            await runner.start()
            await use(runner)
        finally:
            await runner.close()

    run(main())


# --- children that outlive the main process -----------------------------------------------------------------


@pytest.mark.parametrize("kinds", [*ALL.split(","), ALL])
@linux
def test_children_do_not_outlive_the_part(home: Home, kinds: str) -> None:
    async def use(runner: Runner) -> None:
        await runner.run(home.launch(AND_END, kinds))
        end = await runner.wait(AttemptId("a"))
        assert home.living() == []
        assert len(home.pids()) == len(kinds.split(","))
        assert end.code == 3
        assert end.leftovers >= len(kinds.split(","))
        await until(lambda: not psutil.Process(runner.pids[-1]).children())

    with_runner(use)


@pytest.mark.parametrize("kinds", ["holder", "plain", "session", "family"])
def test_children_that_bear_a_sign_are_found_by_looking_at_all_processes(home: Home, kinds: str) -> None:
    async def use(runner: Runner) -> None:
        await runner.run(home.launch(AND_END, kinds))
        end = await runner.wait(AttemptId("a"))
        assert home.living() == []
        assert end.code == 3
        assert end.leftovers >= 1

    with_runner(use, threads=True)


def test_a_child_that_goes_on_writing_has_a_moment(home: Home) -> None:
    code = "import os, time\nif os.fork(): os._exit(0)\ntime.sleep(0.1); os.write(1, b'late')"

    async def use(runner: Runner) -> None:
        await runner.run(home.launch(code, ""))
        assert (await runner.wait(AttemptId("a"))).out_bytes == 4

    with_runner(use)


def test_stop_ends_children_too(home: Home) -> None:
    async def use(runner: Runner) -> None:
        await runner.run(home.launch(AND_STAY, ALL))
        await home.ready()
        assert len(home.living()) == 6
        before = time.monotonic()
        await runner.stop(AttemptId("a"), grace=0.2)
        assert time.monotonic() - before < 5
        assert home.living() == []

    with_runner(use)


@linux
def test_processes_that_keep_forking_are_ended(home: Home) -> None:
    # Each process lives for a moment and is followed by another one, in the same session.
    code = """if True:
        import os, time
        print("ready", flush=True)
        if os.fork():
            os._exit(0)
        os.setsid()
        while True:
            if os.fork():
                os._exit(0)
    """

    async def use(runner: Runner) -> None:
        await runner.run(home.launch(code, ""))
        assert (await runner.wait(AttemptId("a"))).leftovers >= 1
        await until(lambda: not psutil.Process(runner.pids[-1]).children())

    with_runner(use)


@linux
def test_a_daemon_without_any_sign_lives_at_most_as_long_as_its_possible_parents(home: Home) -> None:
    async def use(runner: Runner) -> None:
        await runner.run(home.launch(AND_STAY, "plain", "old"))
        await home.ready("old")
        await runner.run(home.launch(AND_STAY, "daemon", "parent"))
        await home.ready("parent")
        (daemon,) = (int(path.read_text()) for path in home.folder.glob("daemon.*"))
        # Start times are told in hundredths of a second: the next part is to be younger beyond doubt.
        born = psutil.Process(daemon).create_time()
        await until(lambda: time.time() > born + 0.05)
        await runner.run(home.launch(AND_STAY, "plain", "young"))
        await home.ready("young")

        await runner.stop(AttemptId("parent"), 0.0)
        assert alive(daemon), "it may be a child of the old part"
        await runner.stop(AttemptId("old"), 0.0)
        assert not alive(daemon), "it is older than the young part"
        assert len(home.living()) == 1
        await runner.stop(AttemptId("young"), 0.0)

    with_runner(use)


# --- a node, a runner, a keeper that is killed --------------------------------------------------------------

NODE = """
import asyncio, sys
from pathlib import Path
from discomputify_core.roles.runner.runner import Launch, Runner

async def main():
    folder, code, kinds, threads = sys.argv[1:]
    runner = Runner(threads=threads == "True")
    home = Path(folder)
    argv = (sys.executable, "-S", "-c", code, kinds)
    main_pid = await runner.run(Launch("a", argv, home, {}, home / "a-out", home / "a-err"))
    print(*runner.pids, main_pid, flush=True)
    await asyncio.wait_for(asyncio.Event().wait(), 60)

asyncio.run(main())
"""


@pytest.mark.parametrize(("threads", "kinds"), [(False, ALL), (True, "holder,plain,session,stubborn,family")])
@linux
def test_nothing_outlives_a_killed_node(home: Home, threads: bool, kinds: str) -> None:
    async def main() -> None:
        node = await asyncio.create_subprocess_exec(
            sys.executable, "-c", NODE, str(home.folder), AND_STAY, kinds, str(threads), stdout=asyncio.subprocess.PIPE
        )
        assert node.stdout is not None
        pids = [int(word) for word in (await node.stdout.readline()).split()]
        assert len(pids) == (2 if threads else 3)
        await home.ready()
        assert len(home.living()) == len(kinds.split(","))
        node.kill()
        await until(lambda: not any(map(alive, [*pids, *home.pids()])))
        await node.wait()

    run(main())


async def killed_runner(home: Home, runner: Runner, *which: int) -> None:
    main_pid = await runner.run(home.launch(AND_STAY, "plain,session,family"))
    await home.ready()
    old = runner.pids
    # Stopped first, so that of two processes none can act on the other's death.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for index in which:
            os.kill(old[index], number)
    end = await runner.wait(AttemptId("a"))
    assert "ended unexpectedly" in end.broken
    assert 0 < end.started_at <= end.ended_at
    assert home.living() == []
    assert not alive(main_pid)
    await runner.run(home.launch("raise SystemExit(4)", "", "next"))
    assert (await runner.wait(AttemptId("next"))).code == 4
    assert not set(old) & set(runner.pids)


@pytest.mark.parametrize("which", [[-1], [0], [0, 1]], ids=["runner", "keeper", "both"])
@linux
def test_a_killed_runner_is_replaced_and_leaves_nothing(home: Home, which: list[int]) -> None:
    with_runner(lambda runner: killed_runner(home, runner, *which))


def test_a_killed_runner_without_keeper_leaves_nothing(home: Home) -> None:
    with_runner(lambda runner: killed_runner(home, runner, -1), threads=True)


@linux
def test_a_killed_runners_daemons_end_as_well(home: Home) -> None:
    async def use(runner: Runner) -> None:
        await runner.run(home.launch(AND_STAY, ALL))
        await home.ready()
        os.kill(runner.pids[-1], signal.SIGKILL)
        assert (await runner.wait(AttemptId("a"))).broken
        assert home.living() == []

    with_runner(use)


def test_stop_of_an_attempt_whose_runner_is_killed_returns(home: Home) -> None:
    async def use(runner: Runner) -> None:
        await runner.run(home.launch(AND_STAY, "plain"))
        os.kill(runner.pids[-1], signal.SIGKILL)
        await runner.stop(AttemptId("a"))
        assert (await runner.wait(AttemptId("a"))).broken

    with_runner(use)


@pytest.mark.skipif(sys.platform == "win32", reason="processes are stopped by a POSIX signal")
@pytest.mark.parametrize("threads", [False, True], ids=["select", "threads"])
def test_a_runner_that_hangs_is_replaced(home: Home, monkeypatch: pytest.MonkeyPatch, threads: bool) -> None:
    monkeypatch.setattr(runner_module, "STOP_SECONDS", 0.2)

    async def use(runner: Runner) -> None:
        await runner.run(home.launch(AND_STAY, "plain,session"))
        await home.ready()
        os.kill(runner.pids[-1], signal.SIGSTOP)
        await runner.stop(AttemptId("a"), grace=0.0)
        assert home.living() == []
        assert (await runner.wait(AttemptId("a"))).broken
        os.kill((await new_pids(runner))[-1], signal.SIGSTOP)
        monkeypatch.setattr(runner_module, "ANSWER_SECONDS", 0.2)
        with pytest.raises(DiscomputifyError, match="does not answer"):
            await runner.run(home.launch(AND_STAY, "plain", "b"))

    with_runner(use, threads=threads)


async def new_pids(runner: Runner) -> tuple[int, ...]:
    await runner.start()
    return runner.pids


# --- the two ways of looking --------------------------------------------------------------------------------


@linux
def test_both_ways_see_the_same_processes(home: Home) -> None:
    async def main() -> None:
        token = secrets.token_hex(8)
        env = {**os.environ, "DISCOMPUTIFY_ATTEMPT_ID": "x", "DISCOMPUTIFY_RUNNER": token}
        argv = [sys.executable, "-S", "-c", AND_STAY, "plain,session,family"]
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=home.folder, env=env, start_new_session=True, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            assert await process.stdout.readline() == b"ready\n"
            claim = Claim("x", process.pid, 0.0)
            seen = tree_linux.descendants(process.pid) | {process.pid}
            assert tree_scan.ScanTree(token).belonging(claim, []) == seen
            stranger = Claim("x", -2, 0.0)
            assert tree_scan.ScanTree(token).belonging(stranger, []) == seen
            assert tree_scan.ScanTree("another").belonging(stranger, []) == set()
            assert set(home.pids()) < seen
            assert len(seen) == 5
            tree_linux.send(seen, signal.SIGKILL)
            tree_scan.send(seen, signal.SIGKILL)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
        assert tree_linux.LinuxTree().born(process.pid) == 0.0
        await until(lambda: not home.living())

    run(main())
