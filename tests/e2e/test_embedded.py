"""Without a conf: a private cluster on this machine, which leaves nothing behind."""

from __future__ import annotations

import json
import secrets
import signal
from pathlib import Path

from .cluster_kit import Commands, program, until

PLAIN = """
import os, sys
print("said on", sys.argv[1])
with open(os.path.join(os.environ["DISCOMPUTIFY_OUTPUT_PATH"], "said.txt"), "w") as file:
    file.write(" ".join(sys.argv[1:]))
"""

#: Starts a child, says that it is there, and does not end.
HELD = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
open(os.path.join(os.environ["THERE"], os.environ["DISCOMPUTIFY_PART"]), "w").close()
time.sleep(600)
"""


def nothing_left(commands: Commands) -> bool:
    """Whether neither files nor processes are left."""
    until(lambda: not commands.alive(), deadline=10.0, what="all processes have ended")
    return not list(commands.temporary.iterdir()) and not list(commands.home.iterdir())


def test_a_job_runs_without_a_conf(commands: Commands, tmp_path: Path) -> None:
    folder = program(tmp_path / "program", PLAIN)
    ran = commands.cli("submit", folder, "-n", 3, "--process-id", "mine", "--", "extra").ok()
    assert ran.err.splitlines()[0] == "no conf found: running on this machine only"
    assert "mine: done, 3 of 3 parts done" in ran.out
    for part in (1, 2, 3):
        said = commands.here / "mine" / f"mine_{part}_3" / "said.txt"
        assert said.read_text(encoding="utf-8") == f"{part} 3 mine extra"
        assert (commands.here / "mine" / "logs" / f"{part}.out").read_text(encoding="utf-8") == f"said on {part}\n"
    assert nothing_left(commands)


def test_the_number_of_parts_is_that_of_the_slots(commands: Commands, tmp_path: Path) -> None:
    folder = program(tmp_path / "program", PLAIN)
    ran = commands.cli("submit", folder, "--local", 3, "--json").ok()
    assert ran.json["parts"] == {**ran.json["parts"], "total": 3, "done": 3}
    assert ran.json["upload"]["blobs_sent"] == 1
    assert ran.err == "no conf found: running on this machine only\n"


def test_local_wins_over_a_conf(commands: Commands, tmp_path: Path) -> None:
    key = secrets.token_hex(16)
    # Nobody serves there: whoever asked this master would wait and fail.
    conf = {"ENCRYPTION_KEY": key, "DECRYPTION_KEY": key, "MASTER_NODE": "127.0.0.9", "MASTER_PORT": 1}
    (commands.here / "discomputify_conf.json").write_text(json.dumps(conf), encoding="utf-8")
    folder = program(tmp_path / "program", PLAIN)
    ran = commands.cli("submit", folder, "-n", 1, "--local", "--process-id", "near").ok()
    assert "no conf found" not in ran.err
    assert (commands.here / "near" / "near_1_1" / "said.txt").is_file()


def test_detach_needs_a_cluster(commands: Commands, tmp_path: Path) -> None:
    ran = commands.cli("submit", program(tmp_path / "program", PLAIN), "-n", 1, "--detach")
    assert ran.code == 2
    assert "--detach needs a cluster" in ran.err
    assert nothing_left(commands)


def test_other_commands_need_a_conf(commands: Commands) -> None:
    for command in (("status",), ("nodes",), ("wait", "x"), ("run", "master_node")):
        ran = commands.cli(*command)
        assert ran.code == 2
        assert "No conf found" in ran.err
        assert str(commands.here) in ran.err  # where it was searched


def test_a_failing_job_exits_with_1_and_brings_done_parts(commands: Commands, tmp_path: Path) -> None:
    folder = program(tmp_path / "program", PLAIN + "sys.exit(int(sys.argv[1]) - 1)\n")
    ran = commands.cli("submit", folder, "-n", 2, "--local", 2, "--process-id", "half")
    assert ran.code == 1
    assert "part 2 failed after 3 attempts" in ran.out
    assert [path.name for path in (commands.here / "half").glob("half_*")] == ["half_1_2"]
    assert (commands.here / "half" / "logs" / "2.out").read_text(encoding="utf-8") == "said on 2\n"
    assert nothing_left(commands)


def test_an_interrupted_job_is_stopped_and_removed(commands: Commands, tmp_path: Path) -> None:
    there = tmp_path / "there"
    for number in (signal.SIGINT, signal.SIGTERM):
        there.mkdir()
        folder = program(tmp_path / "program", HELD)
        submit = commands.spawn("submit", folder, "-n", 2, "--local", 2, "--env", f"THERE={there}")
        until(lambda: len(list(there.iterdir())) == 2)
        assert len(commands.parts()) == 4
        assert list(commands.temporary.iterdir())
        submit.signal(number)
        ended = submit.wait(15.0)
        assert ended.code == 130
        assert "the job was stopped and removed" in ended.err
        assert nothing_left(commands)
        for sign in there.iterdir():
            sign.unlink()
        there.rmdir()


def test_a_killed_submit_takes_its_parts_with_it(commands: Commands, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    folder = program(tmp_path / "program", HELD)
    submit = commands.spawn("submit", folder, "-n", 2, "--local", 2, "--env", f"THERE={there}")
    until(lambda: len(list(there.iterdir())) == 2)
    submit.kill()
    until(lambda: not commands.alive(), deadline=10.0, what="parts and their children have ended")


def test_the_plan_of_a_job_without_a_conf(commands: Commands, tmp_path: Path) -> None:
    files = {
        "discomputify_conf.json": "{}",
        ".discomputifyignore": "*.tmp\n!keep.tmp\n",
        "a.tmp": "1",
        "keep.tmp": "2",
        "INPUT_PATH/x": "xyz",
        "__pycache__/main.pyc": "p",
        "OUTPUT_PATH/old": "o",
        ".git/HEAD": "h",
        "env/pyvenv.cfg": "home = /usr",
    }
    folder = program(tmp_path / "program", PLAIN, files)
    plan = commands.cli("submit", folder, "--plan", "--json", "-n", 1).ok().json
    assert sorted(entry["path"] for entry in plan["new"]) == ["INPUT_PATH/x", "keep.tmp", "main.py"]
    ignored = {entry["path"].rstrip("/") for entry in plan["ignored"]}
    assert ignored >= {"discomputify_conf.json", "a.tmp", "__pycache__", "OUTPUT_PATH", ".git", "env"}
    assert nothing_left(commands)


def test_what_this_machine_alone_could_never_start_is_refused(commands: Commands) -> None:
    folder = program(commands.here / "quick", "")
    together = commands.cli("submit", folder, "--local", 2, "-n", 3, "--together")
    assert together.code == 2
    assert "3 parts that start together need 3 CPUs at once" in together.err
    assert "--local 3" in together.err
    big = commands.cli("submit", folder, "--local", 2, "-n", 1, "--cpus", 5)
    assert big.code == 2
    assert "A part needs 5 CPUs at once" in big.err
    assert commands.cli("submit", folder, "--local", 3, "-n", 3, "--together").ok()
