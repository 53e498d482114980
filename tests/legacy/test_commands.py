"""``python3 -m DISCOMPUTIFY ROLE``: usage, what ends it and what does not. That it serves, the example shows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..e2e.cluster_kit import RUNS
from .legacy_kit import OldCluster

COMMAND = (sys.executable, "-m", "DISCOMPUTIFY")

#: Starts a command in the background of a terminal where somebody pressed Enter, then brings it to the foreground.
IN_A_TERMINAL = """
import json, os, pty, signal, subprocess, sys
import psutil

child, terminal = pty.fork()
if child:
    os.write(terminal, b"\\n")
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    sys.exit(0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
role = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=os.setpgrp)
line = role.stdout.readline()
state = psutil.Process(role.pid).status()
alive = role.poll() is None and state not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
os.tcsetpgrp(0, role.pid)
os._exit(role.wait(30) if line.startswith(b"ready: ") and alive else 99)
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[OldCluster]:
    """Not started."""
    made = OldCluster(tmp_path)
    yield made
    made.close()


def command(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=RUNS,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize("args", [(), ("computing",), ("shared_mem_node",), ("--slots", "2")])
def test_no_role_and_no_such_role(tmp_path: Path, args: tuple[str, ...]) -> None:
    ran = command(tmp_path, *args)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "usage: python3 -m DISCOMPUTIFY ROLE" in ran.stderr
    assert "computing_node, ftp_node, master_node" in ran.stderr
    assert all(repr(arg) in ran.stderr for arg in args[:1])


def test_help(tmp_path: Path) -> None:
    ran = command(tmp_path, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "discomputify run ROLE" in ran.stdout


def test_a_bad_conf_is_told_after_the_one_notice(tmp_path: Path) -> None:
    (tmp_path / "discomputify_conf.json").write_text('{"MASTER_PORT": 0, "TIMEOUT": "x"}', encoding="utf-8")
    ran = command(tmp_path, "master_node")
    notice, *said = ran.stderr.splitlines()
    assert (ran.returncode, ran.stdout) == (2, "")
    assert notice.startswith("'python3 -m DISCOMPUTIFY master_node' is deprecated since 2.0 (2026-11)")
    assert notice.endswith("Use instead: discomputify run master_node")
    assert said[0].startswith("error: ")
    assert "MASTER_PORT" in ran.stderr
    assert "TIMEOUT" in ran.stderr


def test_the_conf_of_the_current_folder_goes_before_others(cluster: OldCluster, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"MASTER_PORT": "bad"}), encoding="utf-8")
    role = cluster.run("ftp_node", cluster.write_conf("store"), env={"DISCOMPUTIFY_CONF": str(other)})
    role.line("ready: ftp_node on 127.0.0.4:")
    assert role.stop().code == 0


def test_options_are_those_of_the_new_command(cluster: OldCluster) -> None:
    log = cluster.folder / "log.txt"
    role = cluster.run("ftp_node", cluster.write_conf("store"), "--log-file", str(log))
    role.line("ready: ")
    role.stop()
    assert log.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_in_order(cluster: OldCluster, number: int) -> None:
    role = cluster.run("master_node", cluster.write_conf("master"))
    assert role.line("ready: ") == f"ready: master_node on 127.0.0.6:{cluster.common['MASTER_PORT']}"
    role.signal(number)
    assert role.wait().code == 0


def piped(cluster: OldCluster) -> subprocess.Popen[str]:
    """A store whose stdin is a pipe."""
    return subprocess.Popen(
        [*COMMAND, "ftp_node"],
        cwd=cluster.write_conf("store").parent,
        env=cluster.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_line_in_a_pipe_ends_it_in_order(cluster: OldCluster) -> None:
    with piped(cluster) as role:
        out, err = role.communicate("\n", RUNS)  # it is there before anything serves
    assert role.returncode == 0
    assert out in ("", f"ready: ftp_node on 127.0.0.4:{cluster.common['FTP_PORT']}\n")
    assert len(err.splitlines()) <= 2, err  # the notice, and that it runs as root


def test_the_end_of_a_pipe_does_not_end_it(cluster: OldCluster) -> None:
    with piped(cluster) as role:
        assert role.stdin
        assert role.stdout
        role.stdin.write("no whole line")
        role.stdin.close()
        assert role.stdout.readline().startswith("ready: ")
        assert role.poll() is None
        role.terminate()
        assert role.wait(RUNS) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
def test_enter_in_its_terminal_ends_it_and_the_background_is_left_alone(cluster: OldCluster) -> None:
    folder = cluster.write_conf("store").parent
    (folder / "helper.py").write_text(IN_A_TERMINAL, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "helper.py", *COMMAND, "ftp_node"],
        cwd=folder,
        env=cluster.environment(),
        capture_output=True,
        text=True,
        timeout=RUNS,
        check=False,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("0\n", "", 0)
