"""Wrong arguments, wrong keys and absent services: what each command says, and what it exits with."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from discomputify_core.client.client import Client
from discomputify_core.errors import BadInput
from discomputify_testkit.running import run

from .bad_kit import GOOD, NODE, check_serving, inside, opened, standing, told
from .cluster_kit import MASTER, STORE, Cluster, Process, free_port, program, tree, until

#: Seconds in which a command that cannot reach its cluster has to end.
UNREACHABLE = 10.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standing(tmp_path_factory.mktemp("cluster")) as made:
        program(made.folder / "good", GOOD)
        yield made


@pytest.fixture(autouse=True)
def still_serving(cluster: Cluster) -> Iterator[None]:
    yield
    check_serving(cluster)


def program_folders(where: Path) -> dict[str, tuple[Path, str]]:
    """Folders that are no programs, and what is said of each beside its name."""
    empty, without, other, folder, below, link, pipe = (
        where / name for name in ["empty", "no", "other", "dir", "sub", "link", "fifo"]
    )
    empty.mkdir()
    program(without, "").joinpath("main.py").rename(without / "mane.py")
    (without / "data.csv").touch()
    program(other, "").joinpath("main.py").rename(other / "Main.py")
    (folder / "main.py").mkdir(parents=True)
    program(below / "src", "")
    program(link, GOOD, {"data/": ""})
    (link / "data" / "passwords").symlink_to("/etc/passwd")
    program(pipe, GOOD)
    os.mkfifo(pipe / "pipe")
    file = where / "file"
    file.write_text(GOOD)
    return {
        "missing": (where / "nowhere", "does not exist"),
        "empty": (empty, "is empty"),
        "without main.py": (without, "found: data.csv, mane.py"),
        "another case": (other, "found: Main.py"),
        "main.py is a folder": (folder, "main.py"),
        "main.py below": (below, "found: src"),
        "a file": (file, "is not a folder"),
        "a link out of it": (link, "data/passwords"),
        "a device": (pipe, "pipe"),
    }


def test_a_program_directory_that_is_none(cluster: Cluster, tmp_path: Path) -> None:
    cases = program_folders(tmp_path)
    told(cluster.cli("submit", cases["missing"][0], "-n", 1), 2, "nowhere", "does not exist")
    for folder, said in cases.values():
        told(inside(cluster.conf, "submit", folder, "-n", 1), 2, str(folder), said)
    assert cluster.cli("status", "--json").ok().json == []


WRONG_USE = {
    "no parts": (("--parts", "0"), "--parts 0"),
    "negative": (("--parts", "-3"), "--parts -3"),
    "too many": (("--parts", "10000001"), "10,000,000"),
    "far too many": (("--parts", "1" + "0" * 30), "10,000,000"),
    "no number": (("--parts", "many"), "'many'"),
    "no whole number": (("-n", "1.5"), "'1.5'"),
    "slash": (("--process-id", "a/b"), "'a/b'"),
    "absolute": (("--process-id", "/etc"), "'/etc'"),
    "up": (("--process-id", ".."), "'..'"),
    "up inside": (("--process-id", "a..b"), "'a..b'"),
    "here": (("--process-id", "."), "'.'"),
    "space": (("--process-id", "a b"), "'a b'"),
    "new line": (("--process-id", "a\nb"), "PROCESS_ID"),
    "backslash": (("--process-id", "a\\b"), "PROCESS_ID"),
    "not ASCII": (("--process-id", "é"), "'é'"),
    "nothing": (("--process-id", ""), "PROCESS_ID is empty"),
    "an option": (("--process-id=-x",), "'-x'"),
    "device": (("--process-id", "NUL"), "'NUL'"),
    "long": (("--process-id", "x" * 129), "129 characters"),
    "cpus": (("--cpus", "0"), "--cpus"),
    "memory": (("--memory", "lots"), "'lots'"),
    "need": (("--need", "gpu"), "'gpu'"),
    "need none": (("--need", "gpu=0"), "'gpu=0'"),
    "variable": (("--env", "PATH"), "'PATH'"),
    "inputs": (("--inputs", "some"), "'some'"),
    "pattern": (("--collect", "!"), "--collect: '!'"),
    "detached at home": (("--detach", "--local"), "--detach needs a cluster"),
    "option": (("--partz", "3"), "--partz"),
}


def test_wrong_parts_and_ids_and_options(cluster: Cluster) -> None:
    good = cluster.folder / "good"
    told(cluster.cli("submit", good, "--parts", "0"), 2, "--parts 0")
    told(cluster.cli("submit", good, "--process-id", "a/b"), 2, "'a/b'")
    for options, said in WRONG_USE.values():
        # What the command line itself refuses comes with its usage.
        told(inside(cluster.conf, "submit", *options, good), 2, said, lines=4)
    assert cluster.cli("status", "--json").ok().json == []


def test_the_client_refuses_what_the_command_line_refuses(cluster: Cluster) -> None:
    good = cluster.folder / "good"

    async def main() -> None:
        async with Client(opened(cluster)) as client:
            for parts in (0, -1, 10_000_001):
                with pytest.raises(BadInput, match="--parts"):
                    await client.submit(good, parts)
            for process_id in ("a/b", "..", "a b", "", "x" * 129):
                with pytest.raises(BadInput, match="PROCESS_ID"):
                    await client.submit(good, 1, process_id=process_id)
                for ask in (client.status, client.stop, client.clear, client.why, client.fetch):
                    with pytest.raises(BadInput, match="PROCESS_ID"):
                        await ask(process_id)
            assert await client.jobs() == ()

    run(main())


def test_commands_about_a_job_that_there_is_not(cluster: Cluster) -> None:
    questions = ("status", "wait", "stop", "fetch", "clear", "logs", "why")
    told(cluster.cli("logs", "nojob"), 2, "knows no job 'nojob'")
    for question in questions:
        told(inside(cluster.conf, question, "nojob"), 2, "knows no job 'nojob'")
        told(inside(cluster.conf, question, "a/b"), 2, "PROCESS_ID 'a/b'")


def test_ten_million_parts_are_a_job(cluster: Cluster) -> None:
    good = cluster.folder / "good"
    cluster.cli("submit", good, "-n", 10_000_000, "--process-id", "most", "--need", "unicorns=1", "--detach").ok()
    assert cluster.status("most")["parts"] == {
        **dict.fromkeys(("waiting", "placed", "running", "done", "failed", "stopped"), 0),
        "total": 10_000_000,
        "ready": 10_000_000,
    }
    assert "unicorns" in cluster.why("most.10000000")
    told(cluster.cli("why", "most.10000001"), 2, "no part 10000001")
    assert cluster.cli("stop", "most", "--json").ok().json["parts"]["stopped"] == 10_000_000
    cluster.cli("clear", "most").ok()


def test_an_id_in_use_says_by_whom_and_how_to_free_it(cluster: Cluster) -> None:
    good = cluster.folder / "good"
    waits = program(cluster.folder / "waits", "import threading\nthreading.Event().wait(60)\n")
    cluster.cli("submit", waits, "-n", 2, "--process-id", "taken", "--detach").ok()
    owner = cluster.status("taken")["owner"]

    said = told(cluster.cli("submit", good, "-n", 1, "--process-id", "taken"), 2, "'taken' is in use", owner, "2 parts")
    assert "discomputify stop taken" in said
    assert "discomputify clear taken" in said
    told(cluster.cli("clear", "taken"), 2, "discomputify stop taken")
    assert not (cluster.here / "taken").exists()

    cluster.cli("stop", "taken").ok()
    told(cluster.cli("submit", good, "-n", 1, "--process-id", "taken"), 2, "stopped", "discomputify clear taken")
    cluster.cli("clear", "taken").ok()
    cluster.cli("submit", good, "-n", 1, "--process-id", "taken").ok()
    assert tree(cluster.here / "taken" / "taken_1_1") == {"part": b"1"}
    cluster.cli("clear", "taken").ok()


def test_two_who_want_one_id_at_once(cluster: Cluster, tmp_path: Path) -> None:
    good = cluster.folder / "good"
    both = [
        cluster.spawn("submit", good, "-n", 3, "--process-id", "race", "--out", tmp_path / str(number))
        for number in range(2)
    ]
    won, lost = sorted((process.wait() for process in both), key=lambda ran: ran.code)
    won.ok()
    told(lost, 2, "'race' is in use", lines=3)
    assert cluster.status("race")["parts"]["done"] == 3
    cluster.cli("clear", "race").ok()


def test_outputs_are_not_mixed_with_other_files(cluster: Cluster, tmp_path: Path) -> None:
    good = cluster.folder / "good"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    (tmp_path / "file").touch()
    (tmp_path / "under").touch()
    cases = {"mine": tmp_path, "file": tmp_path, "below": tmp_path / "under"}
    for job, out in cases.items():
        told(inside(cluster.conf, "submit", good, "-n", 1, "--process-id", job, "--out", out), 2, str(out / job))
    assert tree(tmp_path / "mine") == {"thesis.txt": b""}
    assert cluster.cli("status", "--json").ok().json == []


# --- services that are not there -----------------------------------------------------------------


def timed(start: float, process: Process) -> float:
    """Seconds from *start* until *process* has ended."""
    process.wait()
    return time.monotonic() - start


def test_an_absent_master_or_store_is_said_within_ten_seconds(cluster: Cluster, tmp_path: Path) -> None:
    good = cluster.folder / "good"
    cluster.cli("submit", good, "-n", 1, "--process-id", "here").ok()
    nobody = free_port(MASTER, STORE)
    with socket.create_server((MASTER, 0)) as silent:
        mute = silent.getsockname()[1]
        cases = {
            "no master": (
                cluster.write_conf("x1", MASTER_PORT=nobody),
                ("submit", good, "-n", 1),
                f"{MASTER}:{nobody}",
            ),
            "no master, status": (cluster.write_conf("x2", MASTER_PORT=nobody), ("status",), f"{MASTER}:{nobody}"),
            "a silent master": (cluster.write_conf("x3", MASTER_PORT=mute), ("nodes",), f"{MASTER}:{mute}"),
            "no store": (cluster.write_conf("x4", FTP_PORT=nobody), ("submit", good, "-n", 1), f"{STORE}:{nobody}"),
            "no query": (
                cluster.write_conf("x5", QUERY_PORT=nobody),
                ("fetch", "here", "--out", tmp_path),
                f":{nobody}",
            ),
        }
        start = time.monotonic()
        cluster.cli("status").ok()
        # What starting a Python takes here and now is not the network's; all of them start together.
        allowed = UNREACHABLE + len(cases) * (time.monotonic() - start)
        start = time.monotonic()
        running = {name: cluster.spawn(*args, conf=conf) for name, (conf, args, _) in cases.items()}
        took = {name: timed(start, process) for name, process in running.items()}
    for name, (_, _, where) in cases.items():
        told(running[name].wait(), 3, where)
    assert max(took.values()) < allowed, took
    assert [job["process_id"] for job in cluster.cli("status", "--json").ok().json] == ["here"]
    cluster.cli("clear", "here").ok()


def test_without_a_computing_node_a_job_waits_and_says_so(tmp_path: Path) -> None:
    good = program(tmp_path / "good", GOOD)
    with standing(tmp_path / "cluster", node=False) as lonely:
        told(lonely.cli("submit", good), 3, "No computing node is connected", MASTER, "-n")
        lonely.cli("submit", good, "-n", 2, "--process-id", "waits", "--detach").ok()
        until(lambda: lonely.status("waits")["parts"]["ready"] == 2, what="the job is admitted")
        assert "no computing node is connected" in lonely.why("waits")
        assert "no computing node is connected" in lonely.why("waits.2")
        late = lonely.cli("wait", "waits", "--timeout", "0.1")
        assert (late.code, "no computing node" in late.out) == (4, True)
        check_serving(lonely, node=False)
        lonely.start_node(NODE)
        lonely.cli("wait", "waits").ok()


# --- wrong keys ----------------------------------------------------------------------------------


def test_keys_that_differ(cluster: Cluster) -> None:
    good = cluster.folder / "good"
    other = secrets.token_hex(16)
    right = cluster.common["ENCRYPTION_KEY"]
    both = cluster.write_conf("other-keys", ENCRYPTION_KEY=other, DECRYPTION_KEY=other)
    one = cluster.write_conf("other-key", ENCRYPTION_KEY=other, COMP_NODE="127.0.0.9")
    master = cluster.roles["master_node"]
    before = master.err

    ran = [
        cluster.cli("status", conf=both),
        cluster.cli("submit", good, "-n", 1, "--process-id", "secret-job", conf=one),
        cluster.cli("run", "computing_node", conf=one),
    ]

    for each in ran:
        said = told(each, 3, "keys differ", f"{MASTER}:")
        assert other not in said
    until(lambda: master.err.count("turned away") == before.count("turned away") + 3, what="three lines in the log")
    lines = master.err[len(before) :].splitlines()
    assert len(lines) == 3
    for line in lines:
        assert "turned away 127.0.0.1:" in line
        assert "key differs" in line
    for role in cluster.roles.values():
        logged = role.out + role.err
        assert not any(secret in logged for secret in (other, right, "secret-job"))
    doctor = cluster.cli("doctor", conf=both)
    assert doctor.code == 1
    assert "Traceback" not in doctor.err
    assert "keys differ" in doctor.out
    assert other not in doctor.out
