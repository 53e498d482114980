"""Limits of time and memory: who is ended for which, and what is known of what it used."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from discomputify_core.roles.runner import cgroup
from discomputify_core.roles.runner.limits import Guard, Limits
from discomputify_core.roles.runner.loop import ThreadLoop
from discomputify_core.roles.runner.runner import Exit, Launch, Runner
from discomputify_core.roles.runner.tree import Claim
from discomputify_core.roles.runner.tree_scan import ScanTree

from .test_runner import launch, related, started, with_runner

MIB = 1024 * 1024
HOLDS = "import time\nheld = bytearray({size})\nprint('held', flush=True)\ntime.sleep({seconds})"
THREE = """
import subprocess, sys
for _ in range(3):
    last = subprocess.Popen([sys.executable, '-S', '-c', {child!r}])
last.wait()
"""
SPINS = "import time\nend = time.process_time() + {cpu}\nwhile time.process_time() < end: pass\n"


def ended(order: Launch, *, threads: bool = False) -> Exit:
    found: list[Exit] = []

    async def use(runner: Runner) -> None:
        await runner.run(order)
        found.append(await runner.wait(order.attempt))

    with_runner(use, threads=threads)
    return found[0]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for parts; no process of them is left in the end."""
    folder = tmp_path / "work"
    folder.mkdir()
    yield folder
    assert related(folder) == []


@pytest.fixture(params=[False, True], ids=["select", "threads"])
def threads(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_program_that_takes_too_long_is_ended(home: Path, threads: bool) -> None:
    began = time.monotonic()
    end = ended(attrs.evolve(launch(home, "import time; time.sleep(600)"), time_limit=0.3), threads=threads)
    assert (end.limit, end.stopped) == ("time", False)
    assert 0.3 <= end.ended_at - end.started_at < 10
    assert time.monotonic() - began < 20


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no request to end")
def test_it_may_tidy_up_and_is_killed_if_it_stays(home: Path) -> None:
    tidies = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\ntime.sleep(600)"
    end = ended(attrs.evolve(launch(home, tidies), time_limit=0.5))
    assert (end.limit, end.code, end.signal) == ("time", 0, 0)
    stays = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
    end = ended(attrs.evolve(launch(home, stays, name="b"), time_limit=0.5))
    assert (end.limit, end.signal) == ("time", 9)


def test_one_that_ends_in_time_has_reached_no_limit(home: Path, threads: bool) -> None:
    order = attrs.evolve(launch(home, "raise SystemExit(3)"), time_limit=3e9, memory_limit=2**40)
    end = ended(order, threads=threads)
    assert (end.limit, end.code, end.over) == ("", 3, 0)


def test_one_that_is_stopped_first_was_stopped(home: Path) -> None:
    async def use(runner: Runner) -> None:
        order = attrs.evolve(launch(home, "import time; time.sleep(600)"), time_limit=0.2)
        await runner.run(order)
        await runner.stop(order.attempt)
        end = await runner.wait(order.attempt)
        assert (end.stopped, end.limit) == (True, "")

    with_runner(use)


def test_memory_of_all_processes_counts(home: Path, threads: bool) -> None:
    child = HOLDS.format(size=60 * MIB, seconds=600)
    code = THREE.format(child=child)
    end = ended(attrs.evolve(launch(home, code), memory_limit=120 * MIB), threads=threads)
    assert end.limit == "memory"
    assert 120 * MIB < end.over <= end.peak_rss
    # Each of them alone is below the limit, and so are they all with a higher one.
    child = HOLDS.format(size=60 * MIB, seconds=1.2)
    code = THREE.format(child=child)
    end = ended(attrs.evolve(launch(home, code, name="b"), memory_limit=600 * MIB), threads=threads)
    assert (end.limit, end.code) == ("", 0)
    assert end.peak_rss > 150 * MIB


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says what processes share")
def test_memory_that_processes_share_counts_once(home: Path) -> None:
    code = (
        f"import os, time\nheld = bytearray({60 * MIB})\n"
        "for _ in range(3):\n    if not os.fork(): time.sleep(1.6); os._exit(0)\n"
        "time.sleep(1.6)\nwhile True:\n    try: os.wait()\n    except ChildProcessError: break\n"
    )
    end = ended(attrs.evolve(launch(home, code), memory_limit=120 * MIB))
    assert (end.limit, end.code) == ("", 0)
    assert 50 * MIB < end.peak_rss < 120 * MIB


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere it is not looked for")
def test_memory_of_orphans_counts(home: Path) -> None:
    child = HOLDS.format(size=150 * MIB, seconds=600)
    code = (
        "import os, subprocess, sys, time\nif not os.fork():\n"
        f"    subprocess.Popen([sys.executable, '-S', '-c', {child!r}], start_new_session=True)\n    os._exit(0)\n"
        "os.wait()\ntime.sleep(600)"
    )
    end = ended(attrs.evolve(launch(home, code), memory_limit=120 * MIB))
    assert end.limit == "memory"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say")
def test_the_time_of_processes_that_nobody_waited_for_is_known(home: Path) -> None:
    child = SPINS.format(cpu=0.3) + "print('spun', flush=True)\ntime.sleep(600)"
    code = (
        "import subprocess, sys, time\nfor _ in range(2):\n"
        f"    last = subprocess.Popen([sys.executable, '-S', '-c', {child!r}], stdout=subprocess.PIPE)\n"
        "    last.stdout.read(4)\nprint('ready', flush=True)\ntime.sleep(600)"
    )

    async def use(runner: Runner) -> None:
        order = launch(home, code)
        await runner.run(order)
        await started(home)
        await runner.stop(order.attempt)
        assert (await runner.wait(order.attempt)).cpu_seconds >= 0.55

    with_runner(use)


# --- control groups: plain files stand for the kernel's ------------------------------------------------


def groups(folder: Path, *, shared_out: bool) -> Path:
    """A tree of control groups in which this process is in /unit."""
    unit = folder / "cgroups" / "unit"
    unit.mkdir(parents=True)
    (unit / "cgroup.controllers").write_text("cpu memory pids\n")
    (unit / "cgroup.subtree_control").write_text("memory\n" if shared_out else "\n")
    (unit / "cgroup.procs").write_text("7\n8\n")
    (folder / "own").write_text("3:cpu:/elsewhere\n0::/unit\n")
    return unit


def test_groups_are_made_where_memory_is_shared_out(tmp_path: Path) -> None:
    unit = groups(tmp_path, shared_out=True)
    found = cgroup.find((7, 8, 9), tmp_path / "cgroups", tmp_path / "own")
    assert found is not None
    group = found.make("job.1.1/key", 1000)
    assert group is not None
    folder = unit / "discomputify-job.1.1_key"
    group.add(12)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "memory.max": "1000",
        "memory.oom.group": "1",
        "cgroup.procs": "12",
    }
    assert (group.overrun, group.peak, group.cpu_seconds) == (False, 0, 0.0)
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 1\n")
    (folder / "memory.peak").write_text("1000\n")
    (folder / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 2000000\n")
    assert (group.overrun, group.peak, group.cpu_seconds) == (True, 1000, 2.5)
    assert found.make("job.1.1/key", 1000) is None  # it exists and is not empty: looking has to do


def test_a_group_given_to_the_node_is_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = groups(tmp_path, shared_out=False)
    where = (tmp_path / "cgroups", tmp_path / "own")
    assert cgroup.find((7, 8, 9), *where) is None  # it was not given to anybody
    monkeypatch.setattr(cgroup, "_delegated", lambda folder: True)
    assert cgroup.find((7,), *where) is None  # somebody else is in it, too
    assert cgroup.find((7, 8, 9), *where) is not None
    assert (unit / "cgroup.subtree_control").read_text() == "+memory"
    assert (unit / cgroup.LEAF / "cgroup.procs").read_text() in ("7", "8")
    (tmp_path / "own").write_text(f"0::/unit/{cgroup.LEAF}\n")
    (unit / "cgroup.subtree_control").write_text("memory\n")
    assert cgroup.find((7, 8, 9), *where) is not None  # the next runner of this node


@pytest.mark.parametrize("own", ["", "4:memory:/a\n", "0::/../up\n", "0::/gone\n"])
def test_elsewhere_there_are_none(tmp_path: Path, own: str) -> None:
    groups(tmp_path, shared_out=True)
    (tmp_path / "own").write_text(own)
    assert cgroup.find((7, 8), tmp_path / "cgroups", tmp_path / "own") is None
    assert cgroup.find((7, 8), tmp_path / "cgroups", tmp_path / "no file") is None


def test_the_kernel_is_believed(tmp_path: Path) -> None:
    """A program that the kernel ended for its memory has reached its limit."""
    unit = groups(tmp_path, shared_out=True)
    made = cgroup.find((7, 8), tmp_path / "cgroups", tmp_path / "own")
    loop, over = ThreadLoop(), list[float]()
    guard = Guard(loop, ScanTree("t"), Claim("a", 1, 0.0), Limits(0.0, 1000), set, over.append)
    guard.start(made)
    assert not loop._timers  # nobody looks besides
    (unit / "discomputify-a" / "memory.events").write_text("oom_kill 1\n")
    guard.main_ended()
    assert (guard.limit, guard.over, over) == ("memory", 0, [])
    guard.close()


def test_nobody_wakes_up_for_a_part_without_limits() -> None:
    loop = ThreadLoop()
    Guard(loop, ScanTree("t"), Claim("a", 1, 0.0), Limits(), set, lambda grace: None).start(None)
    assert not loop._timers
