"""What a program may do, and what the node learns of it: exit codes, streams, limits, refusals, stopping."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from discomputify_core.errors import BadConf, BadInput, DiscomputifyError, DiskError, OurBug
from discomputify_core.model.ids import AttemptId
from discomputify_core.roles.runner.runner import DEFAULT_CAP, Exit, Launch, Runner
from discomputify_testkit.running import run, until

ENV = {"PATH": os.environ["PATH"]}


def related(folder: Path) -> list[psutil.Process]:
    """Processes that run in *folder* or were told its name."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline", "status"]):
        names = [process.info["cwd"] or "", *(process.info["cmdline"] or [])]
        zombie = process.info["status"] == psutil.STATUS_ZOMBIE
        if process.pid != os.getpid() and not zombie and any(str(folder) in name for name in names):
            found.append(process)
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for parts; no process of them may be left in the end."""
    folder = tmp_path / "work"
    folder.mkdir()
    yield folder
    left = related(folder)
    for process in left:
        process.kill()
    assert left == []


@pytest.fixture(params=[False, True], ids=["select", "threads"])
def threads(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def launch(home: Path, code: str, *args: str, name: str = "a", cap: int = DEFAULT_CAP, **env: str) -> Launch:
    argv = (sys.executable, "-S", "-c", code, *args)
    return Launch(AttemptId(name), argv, home, {**ENV, **env}, home / f"{name}.out", home / f"{name}.err", cap)


def with_runner(use: Callable[[Runner], Awaitable[None]], *, threads: bool = False) -> None:
    async def main() -> None:
        runner = Runner(threads=threads)
        try:
            await runner.start()
            await use(runner)
        finally:
            await runner.close()

    run(main())


def ended(home: Path, code: str, *args: str, threads: bool = False, cap: int = DEFAULT_CAP, **env: str) -> Exit:
    """How a program of these lines ended."""
    found: list[Exit] = []

    async def use(runner: Runner) -> None:
        order = launch(home, code, *args, cap=cap, **env)
        await runner.run(order)
        found.append(await runner.wait(order.attempt))

    with_runner(use, threads=threads)
    return found[0]


async def started(home: Path, name: str = "a") -> None:
    """Until the program has written ``ready``."""
    await until(lambda: "ready" in (home / f"{name}.out").read_text(encoding="utf-8"))


FOREVER = "import signal\nprint('ready', flush=True)\nwhile True: signal.pause()"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOREVER


# --- how it ends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 3, 255])
def test_exit_code(home: Path, code: int, threads: bool) -> None:
    end = ended(home, f"raise SystemExit({code})", threads=threads)
    assert (end.code, end.signal, end.stopped, end.broken, end.leftovers) == (code, 0, False, "", 0)


def test_signal(home: Path, threads: bool) -> None:
    end = ended(home, "import os; os.kill(os.getpid(), 9)", threads=threads)
    assert (end.code, end.signal, end.stopped) == (0, 9, False)


def test_times_and_resources(home: Path) -> None:
    before = time.time()
    end = ended(home, "b = bytearray(80 << 20); b[:] = bytes(80 << 20)")
    assert before <= end.started_at <= end.ended_at <= time.time()
    assert end.cpu_seconds > 0
    assert end.peak_rss > 80 << 20


def test_surroundings(home: Path) -> None:
    code = """if True:
        import os, sys
        assert sys.stdin.read() == ""
        assert sorted(map(int, os.listdir("/dev/fd")))[:3] == [0, 1, 2] and len(os.listdir("/dev/fd")) == 4
        assert os.getsid(0) == os.getpid()
        print(os.getcwd(), os.environ["DISCOMPUTIFY_ATTEMPT_ID"], sorted(os.environ), sys.argv[1:], os.environ["K"])
    """
    end = ended(home, code, "ä b", "", K="w\udcffert", PYTHONIOENCODING="utf-8:surrogateescape")
    assert end.stderr_tail == ""
    text = (home / "a.out").read_bytes().decode("utf-8", "surrogateescape")
    names = ["DISCOMPUTIFY_ATTEMPT_ID", "DISCOMPUTIFY_RUNNER", "K", "PATH", "PYTHONIOENCODING"]
    shown = [name for name in names if name in text]
    assert text.startswith(f"{home} a [")
    assert shown == names
    assert "PYTHONPATH" not in text
    assert "['ä b', '']" in text
    assert text.endswith("w\udcffert\n")


# --- streams ------------------------------------------------------------------------------------------------


def test_streams_are_kept_apart_and_whole(home: Path, threads: bool) -> None:
    code = "import sys; print('grüße 🦊'); print('schlüssel', file=sys.stderr)"
    end = ended(home, code, threads=threads, PYTHONIOENCODING="utf-8")
    assert (home / "a.out").read_text(encoding="utf-8") == "grüße 🦊\n"
    assert (home / "a.err").read_text(encoding="utf-8") == "schlüssel\n"
    assert (end.stderr_tail, end.out_bytes, end.err_bytes, end.log_fault) == ("schlüssel", 13, 11, "")


def test_nothing_written(home: Path) -> None:
    end = ended(home, "pass")
    assert (home / "a.out").read_bytes() == (home / "a.err").read_bytes() == b""
    assert (end.out_bytes, end.err_bytes, end.stderr_tail) == (0, 0, "")


def test_streams_closed_early(home: Path) -> None:
    assert ended(home, "import os; os.write(1, b'x'); os.close(1); os.close(2); os._exit(4)").code == 4
    assert (home / "a.out").read_bytes() == b"x"


def test_output_can_be_read_while_it_runs(home: Path, threads: bool) -> None:
    async def use(runner: Runner) -> None:
        await runner.run(launch(home, FOREVER))
        await started(home)
        await runner.stop(AttemptId("a"))

    with_runner(use, threads=threads)


def test_a_flood_is_cut_in_the_middle(home: Path, threads: bool) -> None:
    code = """if True:
        import sys
        sys.stdout.write("first\\n" + 49 * (1 << 20) * "x" + "last\\n")
    """
    end = ended(home, code, cap=10_000, threads=threads)
    total = 49 * (1 << 20) + 11
    kept = (home / "a.out").read_text(encoding="utf-8")
    assert end.out_bytes == total
    assert kept.startswith("first\n")
    assert kept.endswith("xlast\n")
    assert f"x\n[discomputify: {total - 10_000:,} bytes of output were left out here]\nx" in kept
    assert sorted(path.name for path in home.iterdir()) == ["a.err", "a.out"]


def test_a_flood_does_not_hold_up_others(home: Path) -> None:
    async def use(runner: Runner) -> None:
        await runner.run(launch(home, "import os\nwhile True: os.write(1, b'x' * 65536)", name="flood", cap=1 << 20))
        for number in range(10):
            await runner.run(launch(home, "pass", name=f"n{number}"))
            assert (await runner.wait(AttemptId(f"n{number}"))).code == 0
        await runner.stop(AttemptId("flood"), 0.0)
        assert (await runner.wait(AttemptId("flood"))).out_bytes > 1 << 20

    with_runner(use)


def test_only_the_last_lines_of_stderr_are_reported(home: Path) -> None:
    end = ended(home, "import sys\nfor i in range(120): print(f'line {i}', file=sys.stderr)")
    assert end.stderr_tail.split("\n") == [f"line {i}" for i in range(70, 120)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_under_a_log_does_not_end_the_part(home: Path) -> None:
    async def use(runner: Runner) -> None:
        env = dict(ENV)
        code = "print('lost'); raise SystemExit(5)"
        order = Launch(AttemptId("a"), (sys.executable, "-c", code), home, env, Path("/dev/full"), home / "a.err")
        await runner.run(order)
        end = await runner.wait(order.attempt)
        assert (end.code, end.out_bytes) == (5, 5)
        assert "/dev/full" in end.log_fault
        assert "No space left" in end.log_fault

    with_runner(use)


# --- what cannot be started ---------------------------------------------------------------------------------


def refused(home: Path, order: Launch, threads: bool) -> None:
    async def use(runner: Runner) -> None:
        await runner.run(order)

    with_runner(use, threads=threads)


def test_missing_interpreter(home: Path, threads: bool) -> None:
    order = Launch(AttemptId("a"), ("/no/such/python3",), home, ENV, home / "out", home / "err")
    with pytest.raises(BadConf, match=r"PYTHON.*/no/such/python3.*No such file"):
        refused(home, order, threads)


def test_interpreter_that_is_no_program(home: Path) -> None:
    (home / "python").write_text("just text", encoding="utf-8")
    order = Launch(AttemptId("a"), (str(home / "python"),), home, ENV, home / "out", home / "err")
    with pytest.raises(BadConf, match="Permission denied"):
        refused(home, order, False)


@pytest.mark.parametrize("cwd", ["gone", "a_file"])
def test_missing_folder(home: Path, cwd: str, threads: bool) -> None:
    (home / "a_file").touch()
    order = Launch(AttemptId("a"), (sys.executable,), home / cwd, ENV, home / "out", home / "err")
    with pytest.raises(DiskError, match=f"work folder .*{cwd}"):
        refused(home, order, threads)


def test_log_in_a_missing_folder(home: Path) -> None:
    order = Launch(AttemptId("a"), (sys.executable,), home, ENV, home / "out", home / "gone" / "err")
    with pytest.raises(DiskError, match=r"log file .*gone/err"):
        refused(home, order, False)


@pytest.mark.parametrize("text", ["x" * (4 << 20), "x" * (65 << 20), "nul\0"], ids=["4MB", "65MB", "nul"])
def test_impossible_environment_and_arguments(home: Path, text: str) -> None:
    async def use(runner: Runner) -> None:
        for order in (launch(home, "pass", BIG=text), launch(home, "pass", text)):
            with pytest.raises(BadInput, match="arguments and environment"):
                await runner.run(order)
        await runner.run(launch(home, "pass"))
        assert (await runner.wait(AttemptId("a"))).code == 0

    with_runner(use)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prlimit")
@pytest.mark.parametrize("files", [0, 3, 5])
def test_a_limit_of_the_machine(home: Path, files: int) -> None:
    import resource

    async def use(runner: Runner) -> None:
        pid = runner.pids[-1]
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        in_use = psutil.Process(pid).num_fds()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (in_use + files, before[1]))
        with pytest.raises(DiscomputifyError, match="Too many open files"):
            await runner.run(launch(home, "pass"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        await runner.run(launch(home, "pass"))
        assert (await runner.wait(AttemptId("a"))).code == 0
        assert psutil.Process(pid).num_fds() == in_use

    with_runner(use)


def test_the_same_attempt_twice_is_our_bug(home: Path) -> None:
    async def use(runner: Runner) -> None:
        await runner.run(launch(home, FOREVER))
        with pytest.raises(OurBug):
            await runner.run(launch(home, FOREVER))
        with pytest.raises(OurBug):
            await runner.wait(AttemptId("unknown"))
        await runner.stop(AttemptId("unknown"))

    with_runner(use)


# --- stopping -----------------------------------------------------------------------------------------------


def test_stop_asks_first(home: Path, threads: bool) -> None:
    code = """if True:
        import signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    """
    body = "\n".join(line[8:] for line in code.splitlines()[1:]) + "\n" + FOREVER

    async def use(runner: Runner) -> None:
        await runner.run(launch(home, body))
        await started(home)
        await runner.stop(AttemptId("a"), grace=20.0)
        end = await runner.wait(AttemptId("a"))
        assert (end.code, end.signal, end.stopped) == (7, 0, True)

    with_runner(use, threads=threads)


@pytest.mark.parametrize("code", [STUBBORN, "print('ready', flush=True)\nwhile True: pass"], ids=["ignores", "busy"])
def test_stop_takes_less_than_five_seconds(home: Path, code: str) -> None:
    async def use(runner: Runner) -> None:
        await runner.run(launch(home, code))
        await started(home)
        before = time.monotonic()
        await runner.stop(AttemptId("a"), grace=0.3)
        assert time.monotonic() - before < 5
        assert related(home) == []
        end = await runner.wait(AttemptId("a"))
        assert end.stopped
        assert end.signal in (9, 15)

    with_runner(use)


def test_the_shortest_grace_counts(home: Path) -> None:
    async def use(runner: Runner) -> None:
        await runner.run(launch(home, STUBBORN))
        await started(home)
        patient = asyncio.create_task(runner.stop(AttemptId("a"), grace=60.0))
        await asyncio.sleep(0)
        await runner.stop(AttemptId("a"), grace=0.1)
        await patient
        assert (await runner.wait(AttemptId("a"))).signal == 9

    with_runner(use)


def test_stop_of_one_leaves_others(home: Path, threads: bool) -> None:
    async def use(runner: Runner) -> None:
        for name in "ab":
            await runner.run(launch(home, FOREVER, name=name))
            await started(home, name)
        await runner.stop(AttemptId("a"), 0.0)
        await runner.stop(AttemptId("a"), 0.0)
        assert (await runner.wait(AttemptId("a"))).stopped
        assert len(related(home)) == 1

    with_runner(use, threads=threads)


def test_close_ends_everything(home: Path, threads: bool) -> None:
    async def main() -> None:
        runner = Runner(threads=threads)
        for name in "abc":
            await runner.run(launch(home, FOREVER, name=name))
        pids = runner.pids
        await runner.close()
        await runner.close()
        assert (await runner.wait(AttemptId("b"))).stopped
        assert runner.pids == ()
        assert not any(psutil.pid_exists(pid) for pid in pids)
        with pytest.raises(OurBug):
            await runner.run(launch(home, FOREVER))

    run(main())


def test_a_cancelled_start_leaves_nothing(home: Path) -> None:
    async def use(runner: Runner) -> None:
        starting = asyncio.create_task(runner.run(launch(home, FOREVER)))
        while not (home / "a.out").exists():
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
        await until(lambda: not related(home))

    with_runner(use)


def test_many_at_once(home: Path, threads: bool) -> None:
    async def use(runner: Runner) -> None:
        async def one(number: int) -> Exit:
            name = f"p{number}"
            await runner.run(launch(home, f"print({number}); raise SystemExit({number})", name=name))
            return await runner.wait(AttemptId(name))

        ends = await asyncio.gather(*map(one, range(48)))
        assert [end.code for end in ends] == list(range(48))
        assert [(home / f"p{number}.out").read_text() for number in range(48)] == [f"{n}\n" for n in range(48)]

    with_runner(use, threads=threads)


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are POSIX")
def test_a_terminals_interrupt_reaches_only_the_node(home: Path) -> None:
    async def use(runner: Runner) -> None:
        assert all(os.getsid(pid) != os.getsid(0) for pid in runner.pids)

    with_runner(use)
