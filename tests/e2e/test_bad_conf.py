"""Confs that cannot be used: every mistake at once, with its line or key, exit 2, and no key shown."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .bad_kit import GOOD, inside, told
from .cluster_kit import MASTER, QUERY, STORE, Commands, free_port, program

#: The example key of the old package, written backwards so that nobody copies it from here.
OLD_EXAMPLE = "U3X8fJdHM7VfYhIS1ZE1s0mfQdC1KpZ2"[::-1]
#: An address that is for documentation, and nobody's.
NOT_OURS = "192.0.2.1"
ROLES = ("master_node", "computing_node", "ftp_node", "all")


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tmp_path / "discomputify_conf.json"


def write(conf: Path, **keys: Any) -> Path:
    """A conf that can be used, but for *keys*."""
    key = secrets.token_hex(16)
    usable = {"ENCRYPTION_KEY": key, "DECRYPTION_KEY": key, "FTP_BASE_PATH": str(conf.parent / "store")}
    conf.write_text(json.dumps({**usable, **keys}), encoding="utf-8")
    conf.chmod(0o600)
    return conf


def all_told(commands: Commands, conf: Path, *words: str, lines: int = 1) -> None:
    """Every reader of *conf*, and a submit, ends with exit 2 and says *words*."""
    good = program(conf.parent / "good", GOOD)
    for args in (("config", "check"), ("config", "show"), ("status",), ("nodes",), ("submit", good, "-n", 1)):
        told(inside(conf, *args), 2, str(conf), *words, lines=lines)
    running = [commands.spawn("run", role, conf=conf) for role in ROLES]
    for process in running:
        told(process.wait(), 2, str(conf), *words, lines=lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{\n  "MASTER_PORT": 1,\n  "SLOTS": \n}\n', ("line 4",)),
        (b'{\n "DEBUG1": true,\n}\n', ("line 2", "comma")),
        (b'{"SLOTS": 1\n "TIMEOUT": 2}', ("line 2",)),
        (b"", ("the file is empty",)),
        (b"[1]", ("expected an object",)),
        (b'\xff\xfe{\x00"\x00', ("line 1 is not UTF-8",)),
        (b'{"SLOTS": 1, "SLOTS": 2}', ("SLOTS",)),
        (b'{"TIMEOUT": NaN}', ("TIMEOUT",)),
        (b"[" * 100_000, ("is not a conf",)),
    ],
    ids=["value", "comma", "no comma", "empty", "list", "UTF-16", "twice", "NaN", "deep"],
)
def test_broken_json_is_named_with_its_line(conf: Path, text: bytes, said: tuple[str, ...]) -> None:
    conf.write_bytes(text)
    conf.chmod(0o600)
    told(inside(conf, "config", "check"), 2, str(conf), *said, lines=6)


def test_every_command_says_the_same_of_broken_json(commands: Commands, conf: Path) -> None:
    conf.write_text('{\n  "MASTER_PORT": 1,,\n}\n')
    conf.chmod(0o600)
    all_told(commands, conf, "line 2, column")


WRONG = {
    "MASTER_PORT": ("eleven", "a port (1 to 65535)"),
    "FTP_PORT": (70000, "70000"),
    "QUERY_PORT": (True, "a port"),
    "TIMEOUT": (-1, "a number above 0"),
    "SLOTS": (0, "a whole number above 0"),
    "CACHE_LIMIT": ("10 GB", "'10 GB'"),
    "COMPUTING_NODES": ("n1", "a list"),
    "DEBUG1": ("yes", "true or false"),
    "MASTER_NODE": (7, "a host name or address"),
    "INPUT_PATH": ("../up", "'..'"),
    "OUTPUT_PATH": ("/etc", "'/etc'"),
    "ENCRYPTION_KEY": ("sekrit", "32 ASCII characters"),
    "DECRYPTION_KEY": ("é" * 32, "32 ASCII characters"),
}


def test_all_mistakes_are_told_at_once_each_with_its_key(commands: Commands, conf: Path) -> None:
    write(conf, **{key: value for key, (value, _) in WRONG.items()}, RESOURCES={"gpu": "two"}, MASTER_NOD="x")
    said = told(commands.cli("config", "check", conf=conf), 2, f"{len(WRONG) + 1} mistakes", lines=len(WRONG) + 3)
    for key, (_, expected) in WRONG.items():
        (line,) = (line for line in said.splitlines() if line.endswith(f" @ {key}"))
        assert expected in line
    assert "@ RESOURCES.gpu" in said
    assert "did you mean 'MASTER_NODE'?" in said
    assert "sekrit" not in said
    all_told(commands, conf, *(f" @ {key}\n" for key in WRONG), lines=len(WRONG) + 4)


def test_a_key_that_everybody_knows(commands: Commands, conf: Path) -> None:
    write(conf, ENCRYPTION_KEY=OLD_EXAMPLE, DECRYPTION_KEY=OLD_EXAMPLE)
    all_told(
        commands,
        conf,
        "README",
        '"tcp": {"allow_published_key": true}',
        "@ ENCRYPTION_KEY",
        "@ DECRYPTION_KEY",
        lines=3,
    )
    assert OLD_EXAMPLE not in commands.cli("config", "check", conf=conf).err
    write(conf, ENCRYPTION_KEY=OLD_EXAMPLE, DECRYPTION_KEY=OLD_EXAMPLE, tcp={"allow_published_key": True})
    commands.cli("config", "check", conf=conf).ok()


def test_plugins_that_are_not_there_and_options_that_they_do_not_have(commands: Commands, conf: Path) -> None:
    write(conf, SCHEDULER="leastlod", TRANSPORT="pigeon", tcp={"allow_publishd_key": True})
    said = told(commands.cli("config", "check", conf=conf), 2, "3 mistakes", "'leastlod'", "'pigeon'", lines=4)
    assert "Did you mean 'leastload'?" in said
    assert "pip install discomputify-pigeon" in said
    write(conf, SCHEDULER="leastlod", tcp={"allow_publishd_key": True})
    told(commands.cli("run", "master_node", conf=conf), 2, "'leastlod'", "'allow_published_key'", lines=3)
    # A client needs no scheduler.
    told(commands.cli("status", conf=conf), 2, "1 mistake", "'allow_published_key'", lines=2)
    told(commands.cli("run", "nonsense", conf=write(conf)), 2, "no role 'nonsense'", "master_node")


def test_a_conf_that_is_not_there(commands: Commands, conf: Path) -> None:
    told(commands.cli("status", conf=conf), 2, str(conf), "does not exist")
    told(commands.cli("status", conf=conf.parent), 2, str(conf.parent))
    told(commands.cli("status"), 2, "discomputify init", lines=4)


# --- addresses -----------------------------------------------------------------------------------


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of the master's and the query service's addresses that another program uses."""
    port = free_port(STORE, QUERY, MASTER)
    with socket.create_server((MASTER, port)), socket.create_server((QUERY, port)):
        yield port


def test_ports_in_use_and_addresses_of_others(commands: Commands, conf: Path, taken: int) -> None:
    free = free_port(STORE, QUERY, MASTER)
    services = {"FTP_NODE": STORE, "QUERY_NODE": QUERY, "MASTER_NODE": MASTER}
    write(conf, **services, FTP_PORT=free, QUERY_PORT=taken, MASTER_PORT=taken)
    in_use = f"Cannot listen at {MASTER}:{taken}: another program uses it"
    told(commands.cli("run", "master_node", conf=conf), 2, in_use, "@ MASTER_NODE, MASTER_PORT")
    told(commands.cli("run", "ftp_node", conf=conf), 2, f"{QUERY}:{taken}", "uses it", "@ QUERY_NODE, QUERY_PORT")
    every = told(commands.cli("run", "all", conf=conf), 2, "2 addresses cannot be used", lines=3)
    assert [line.rpartition(" @ ")[2] for line in every.splitlines()[1:]] == [
        "QUERY_NODE, QUERY_PORT",
        "MASTER_NODE, MASTER_PORT",
    ]

    write(conf, **services, FTP_PORT=free, QUERY_PORT=taken, COMPUTING_PORT=taken)
    told(commands.cli("run", "master_node", conf=conf), 2, "@ MASTER_NODE, COMPUTING_PORT")

    write(conf, FTP_NODE=NOT_OURS, QUERY_NODE=QUERY, MASTER_NODE=NOT_OURS, QUERY_PORT=taken)
    # (A warning says that the query service on loopback is of little use to others.)
    ours = told(commands.cli("run", "master_node", conf=conf), 2, NOT_OURS, "@ MASTER_NODE, COMPUTING_PORT", lines=2)
    assert "not an address of this machine" in ours
    both = told(commands.cli("run", "ftp_node", conf=conf), 2, "2 addresses cannot be used", lines=4)
    assert f"{NOT_OURS}:11112: it is not an address of this machine" in both
    assert f"{QUERY}:{taken}: another program uses it" in both

    # What was refused holds nothing: with addresses of its own the store starts.
    write(conf, **services, FTP_PORT=free, QUERY_PORT=free)
    store = commands.spawn("run", "ftp_node", conf=conf)
    assert store.line("ready: ") == f"ready: ftp_node on {STORE}:{free}"
    second = told(commands.cli("run", "ftp_node", conf=conf), 2, str(conf.parent / "store"))
    assert "in use" in second or "uses" in second
    assert store.stop().code == 0
    assert commands.leftovers() == []


def test_a_node_that_could_not_run_parts(commands: Commands, conf: Path) -> None:
    places = {"WORK_PATH": str(conf.parent / "work"), "CACHE_PATH": str(conf.parent / "cache")}
    write(conf, PYTHON="no-such-python", **places)
    told(commands.cli("run", "computing_node", conf=conf), 2, "PYTHON", "'no-such-python'")
    (conf.parent / "file").touch()
    for key in places:
        write(conf, **{**places, key: str(conf.parent / "file" / "below")})
        told(commands.cli("run", "computing_node", conf=conf), 2, str(conf.parent / "file" / "below"))
    write(conf, FTP_BASE_PATH=str(conf.parent / "file"))
    told(commands.cli("run", "ftp_node", conf=conf), 2, str(conf.parent / "file"))
    told(commands.cli("run", "computing_node", "--name", "../up", conf=write(conf)), 2, "'../up'")
