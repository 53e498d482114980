"""COMPUTING_NODE, FTP_NODE and MASTER_NODE inside a program: a whole cluster in this process, by plain calls."""

from __future__ import annotations

import json
import logging
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from DISCOMPUTIFY.CLIENT_NODE.client_node import CLIENT_NODE
from DISCOMPUTIFY.COMPUTING_NODE.computing_node import COMPUTING_NODE
from DISCOMPUTIFY.FTP_NODE.ftp_node import FTP_NODE
from DISCOMPUTIFY.hosting import HostedRole
from DISCOMPUTIFY.MASTER_NODE.master_node import MASTER_NODE
from discomputify_core.errors import AddressInUse, BadInput

from ..e2e.cluster_kit import HAPPENS, free_port, program, until


def node_threads() -> int:
    return sum(thread.name == "discomputify-node" for thread in threading.enumerate())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a conf for this machine."""
    monkeypatch.chdir(tmp_path)
    write_conf(tmp_path, secrets.token_hex(16))
    return tmp_path


def write_conf(folder: Path, key: str, **keys: object) -> None:
    with ExitStack() as held:
        ports = []
        for _ in range(3):
            ports.append(free_port("127.0.0.1"))
            held.enter_context(socket.create_server(("127.0.0.1", ports[-1])))
    names = ("FTP_PORT", "QUERY_PORT", "COMPUTING_PORT")
    conf = {
        **dict(zip(names, ports, strict=True)),
        "ENCRYPTION_KEY": key,
        "DECRYPTION_KEY": key,
        "COMP_NODE": "127.0.0.1",
        "SLOTS": 2,
        "WORK_PATH": "work",
        "CACHE_PATH": "cache",
        **keys,
    }
    path = folder / "discomputify_conf.json"
    path.touch(0o600)
    path.write_text(json.dumps(conf), encoding="utf-8")


@pytest.fixture
def ended() -> Iterator[list[HostedRole]]:
    """Roles in it are stopped with the test, last first."""
    roles: list[HostedRole] = []
    before = node_threads()
    yield roles
    for role in reversed(roles):
        role.stop_node()
        role.stop_node()
    assert node_threads() == before


def test_a_cluster_in_one_program(here: Path, ended: list[HostedRole]) -> None:
    node, store, master = COMPUTING_NODE(), FTP_NODE(), MASTER_NODE()
    assert node.CONF["COMP_NODE"] == "127.0.0.1"
    ended += [store, master, node]
    node.start_node()  # it does not wait for the others
    for role in (store, master, master):
        role.start_node()
    assert node_threads() == 3
    program(here / "qwe", "import sys; open('OUTPUT_PATH/n', 'w').write(sys.argv[1])")
    with CLIENT_NODE() as client:
        client.upload_files("qwe")
        assert client.start_computing() == {"127.0.0.1": "STARTED"}
        client.download_files()
    (output,) = here.glob("*/*_1_1/OUTPUT_PATH/n")
    assert output.read_text(encoding="utf-8") == "1"
    node.stop_node()
    with CLIENT_NODE() as client:
        assert client.get_node_load() == {}
        node.start_node()  # again
        until(lambda: client.get_node_load().keys() == {"127.0.0.1"}, HAPPENS)


def test_an_address_in_use_is_told_and_leaves_nothing(here: Path) -> None:
    master = MASTER_NODE()
    before = node_threads()
    with socket.create_server(("127.0.0.1", master.CONF["COMPUTING_PORT"])):
        with pytest.raises(AddressInUse, match=str(master.CONF["COMPUTING_PORT"])):
            master.start_node()
        assert node_threads() == before
        master.stop_node()
    master.start_node()
    master.stop_node()
    assert node_threads() == before


def test_a_node_that_is_refused_says_so(here: Path, ended: list[HostedRole], caplog: pytest.LogCaptureFixture) -> None:
    master = MASTER_NODE()
    ended.append(master)
    master.start_node()
    conf = here / "discomputify_conf.json"
    other = json.loads(conf.read_text(encoding="utf-8")) | dict.fromkeys(("ENCRYPTION_KEY", "DECRYPTION_KEY"), "x" * 32)
    conf.write_text(json.dumps(other), encoding="utf-8")
    node = COMPUTING_NODE()
    ended.append(node)
    with caplog.at_level(logging.ERROR, "discomputify.run"):
        node.start_node()
        until(lambda: "127.0.0.1 is not accepted" in caplog.text, HAPPENS)


def test_without_a_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for role in (COMPUTING_NODE, FTP_NODE, MASTER_NODE):
        with pytest.raises(BadInput, match="No conf found"):
            role()
