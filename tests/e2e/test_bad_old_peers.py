"""Peers that speak CYPHER/1 badly, to real services: bounded harm, the old protocol's no, and a line in the log."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography.fernet import Fernet

from .cluster_kit import MASTER, STORE, Cluster, Process, program, until
from .conftest import MakeCluster

ON = {"tcp": {"cypher1": True}}
#: Seconds for an answer, or for the end of a connection.
ANSWERS = 15.0


class OldPeer:
    """One connection that speaks CYPHER/1, as well or badly as it is told to."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._fernet = Fernet(base64.b64encode(key.encode("ascii")))
        self._line = socket.create_connection((host, port), ANSWERS)
        self._line.settimeout(ANSWERS)
        #: What came behind the last answer.
        self._rest = b""

    def token(self, request: object, at: float | None = None) -> bytes:
        """*request* as a token made now, or at another time."""
        text = request if isinstance(request, bytes) else json.dumps(request).encode()
        return self._fernet.encrypt_at_time(text, int(time.time() if at is None else at))

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._line.sendall(data)

    def answer(self) -> Any:
        """The next answer; None if the connection was closed instead."""
        with contextlib.suppress(ConnectionError):
            while b"\0" not in self._rest:
                more = self._line.recv(1 << 20)
                if not more:
                    return None
                self._rest += more
            answer, _, self._rest = self._rest.partition(b"\0")
            return json.loads(self._fernet.decrypt(answer))
        return None

    def ask(self, operation: Any, data: Any = None, path: Any = "/", **more: Any) -> Any:
        """Send a request; its answer."""
        self.send(self.token({"PATH": path, "OPERATION": operation, "DATA": data, "METADATA": {}, **more}) + b"\0")
        return self.answer()

    def close(self) -> None:
        """Hang up."""
        self._line.close()


class Services:
    """A store and a master with CYPHER/1 on."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.store = cluster.start_store()
        self.master = cluster.start_master()
        self._peers: list[OldPeer] = []

    def peer(self, host: str = STORE, key: str = "") -> OldPeer:
        """A fresh connection."""
        peer = OldPeer(host, self.cluster.common["FTP_PORT"], key or self.cluster.common["ENCRYPTION_KEY"])
        self._peers.append(peer)
        return peer

    def still_well(self) -> None:
        """Both serve old and new peers as before."""
        assert self.peer().ask("LISTITEMS", path="")["DATA"] is not None
        assert self.peer(MASTER).ask("GET_NO_OF_NODES")["DATA"] == {"NO_NODES": 0}
        said = self.cluster.cli("doctor").out  # of nodes it says that there are none
        assert "ok      master_node" in said, said
        assert "ok      store" in said, said

    def close(self) -> None:
        """Hang up all peers."""
        for peer in self._peers:
            peer.close()


@pytest.fixture
def services(make_cluster: MakeCluster) -> Iterator[Services]:
    made = Services(make_cluster("127.0.0.1", **ON))
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The same for tests that leave no trace, which need not wait for services of their own."""
    cluster = Cluster(tmp_path_factory.mktemp("shared"), ("127.0.0.1",), **ON)
    try:
        made = Services(cluster)
        yield made
        made.close()
    finally:
        cluster.close()


def refused(answer: Any) -> bool:
    """Whether it is the old protocol's no, or no answer at all."""
    return answer is None or answer["DATA"] in ("NONE", "DO NOT EXIST", None, {})


def lines(process: Process, text: str) -> list[str]:
    """Lines of its log with *text*."""
    return [line for line in process.err.splitlines() if text in line]


def test_tokens_that_cannot_be_opened(services: Services) -> None:
    good = services.peer().token({"PATH": "a", "OPERATION": "LISTITEMS", "DATA": {}, "METADATA": {}})
    damaged = bytearray(good)
    damaged[len(damaged) // 2] ^= 1
    foreign = services.peer(key="k" * 32).token({"PATH": "a", "OPERATION": "LISTITEMS", "DATA": {}, "METADATA": {}})
    for token in (foreign, bytes(damaged), good[:-9], b"g", b"gAAAA", b"g" * 5000, b"g\xff\xfe", b"gAAAA\nGET / HTTP"):
        peer = services.peer()
        peer.send(token + b"\0")
        assert peer.answer() is None
    until(lambda: lines(services.store, "127.0.0.1"), what="a line in the log")
    # At most one a minute for each peer.
    assert len([line for line in lines(services.store, "127.0.0.1") if "WARNING" in line or "refused" in line]) <= 2
    services.still_well()


def test_a_token_without_an_end_costs_bounded_memory(services: Services) -> None:
    store = psutil.Process(services.store.pid)
    before = store.memory_info().rss
    peer = services.peer()
    sent = 0
    with contextlib.suppress(ConnectionError):
        for _ in range(1024):
            peer.send(b"g" * 2**20)
            sent += 2**20
    assert sent < 200 * 2**20  # closed long before 1 GiB
    assert store.memory_info().rss - before < 120 * 2**20
    services.still_well()


def test_what_is_no_request(shared: Services) -> None:
    texts = (b"[]", b'"text"', b"1", b"null", b"{", b"", b"\xff\xfe", b'{"PATH": 1}', b"[" * 100_000)
    for text in texts:
        peer = shared.peer()
        peer.send(peer.token(text) + b"\0")
        assert refused(peer.answer()), text
    shared.still_well()


def test_unknown_operations_and_wrong_types(shared: Services) -> None:
    wrong: list[Any] = [None, 1, -1, 1.5, True, "x", [], {}, "ü", ["zz", 0], ["00", "0"], [0, 0], ["00"]]
    wrong += [{"PROCESS_ID": each} for each in (1, "..", None, "x" * 5000, ["a"])]
    for host in (STORE, MASTER):
        for operation in (
            "EXEC",
            "TERMINATE",
            "CLEAR_DATA",
            "WRITE",
            "NONE",
            "eval",
            "",
            "ünknown",
            "GET_DIR_NAMES",
            7,
        ):
            for data in wrong:
                answer = shared.peer(host).ask(operation, data, path="bad/file")
                assert refused(answer) or "ERROR" in answer["METADATA"], (operation, data, answer)
    assert not list((shared.cluster.folder / "machines/store/store").rglob("file"))
    shared.still_well()


#: None of them is inside the namespace.
OUTSIDE: tuple[Any, ...] = (
    "../x",
    "a/../../x",
    "/etc/passwd",
    "/x",
    "C:\\x",
    "a\\..\\x",
    "con",
    "a\0b",
    "\ud800",
    "x" * 5000,
    1,
    None,
    [],
)


def test_paths_that_lead_out(shared: Services) -> None:
    root = shared.cluster.folder
    before = sorted(root.rglob("x"))
    for path in OUTSIDE:
        written = shared.peer().ask("WRITE", ["00", 0], path, METADATA={"FILESIZE": 1, "UPLOADED": 1})
        assert refused(written), path
        for operation, data in (("READ", {}), ("READ", 0), ("LISTITEMS", {}), ("DELETE", {})):
            answer = shared.peer().ask(operation, data, path)
            assert refused(answer), (operation, answer)
    assert sorted(root.rglob("x")) == before
    assert not Path("/x").exists()
    shared.still_well()


def test_two_requests_in_one_packet_and_a_request_in_single_bytes(shared: Services) -> None:
    peer = shared.peer()
    write = {"OPERATION": "WRITE", "DATA": ["6869", 0], "METADATA": {"FILESIZE": 2, "UPLOADED": 2}}
    one = peer.token({**write, "PATH": "two/one"})
    two = peer.token({**write, "PATH": "two/zwei ü"})
    peer.send(one + b"\0" + two + b"\0")
    assert [peer.answer()["PATH"], peer.answer()["PATH"]] == ["two/one", "two/zwei ü"]
    for byte in peer.token({"PATH": "two", "OPERATION": "LISTITEMS", "DATA": {}, "METADATA": {}}) + b"\0":
        peer.send(bytes([byte]))
    assert sorted(peer.answer()["DATA"]) == ["one", "zwei ü"]
    read = peer.ask("READ", 0, "two/one")
    assert (read["DATA"], read["METADATA"]) == ("6869", {"FILESIZE": 2, "DOWNLOADED": 2})


def test_old_and_future_tokens_and_repeats(services: Services) -> None:
    peer = services.peer()
    write = {"PATH": "old/file", "OPERATION": "WRITE", "DATA": ["61", 0], "METADATA": {"FILESIZE": 1, "UPLOADED": 1}}
    for at in (time.time() - 700, time.time() + 70, time.time() - 30):  # the last one: from before the service started
        peer = services.peer()
        peer.send(peer.token(write, at) + b"\0")
        assert refused(peer.answer())
    assert services.peer().ask("READ", {}, "old/file")["DATA"] == "NONE"
    peer = services.peer()
    token = peer.token(write)
    for _ in range(2):
        peer.send(token + b"\0")
        assert peer.answer()["DATA"] == "DONE"
    assert peer.ask("DELETE", path="old/file")["DATA"] == "DONE"
    again = services.peer()
    again.send(token + b"\0")
    assert again.answer()["DATA"] == "DONE"  # from memory
    assert services.peer().ask("READ", {}, "old/file")["DATA"] == "NONE"


def test_jobs_that_cannot_start_say_why(services: Services, tmp_path: Path) -> None:
    ask = services.peer(MASTER).ask
    nothing = ask("EXEC", {"PROCESS_ID": "nothing"})
    assert nothing["DATA"] == {}
    assert nothing["METADATA"]["ERROR"]
    services.cluster.start_node("127.0.0.1")
    nothing = ask("EXEC", {"PROCESS_ID": "nothing"})
    assert nothing["DATA"] == {}
    assert "nothing" in nothing["METADATA"]["ERROR"]
    services.peer().ask("WRITE", ["61", 0], "half/qwe/main.py", METADATA={"FILESIZE": 10, "UPLOADED": 1})
    half = ask("EXEC", {"PROCESS_ID": "half"})
    assert half["DATA"] == {}
    assert "qwe/main.py" in half["METADATA"]["ERROR"]
    services.peer().ask("WRITE", ["61", 0], "none/qwe/other.py", METADATA={"FILESIZE": 1, "UPLOADED": 1})
    assert "main.py" in ask("EXEC", {"PROCESS_ID": "none"})["METADATA"]["ERROR"]
    assert ask("TERMINATE", {"PROCESS_ID": "nothing"})["DATA"] == {"127.0.0.1": "DO_NOT_EXIST"}
    assert ask("READ_PROCESS_STATUS", {"PROCESS_ID": "nothing"})["DATA"] == {"127.0.0.1": False}
    assert ask("CLEAR_DATA", {"PROCESS_ID": "nothing"})["DATA"] == {"PROCESS_ID": "nothing"}
    # A new client's job is nobody's to take over.
    there = program(tmp_path / "new", "import time; time.sleep(60)")
    services.cluster.submit(there, "-n", "1", "--process-id", "mine", "--detach").ok()
    assert ask("EXEC", {"PROCESS_ID": "mine"})["DATA"] == {"127.0.0.1": "ALREADY_RUNNING"}


def test_turning_it_on_prints_its_weaknesses_once(shared: Services) -> None:
    shared.still_well()
    for process in (shared.store, shared.master):
        assert len(lines(process, "forward secrecy")) == 1


def test_an_old_client_is_closed_on_where_it_is_off(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("127.0.0.1")
    store = cluster.start_store()
    for _ in range(5):
        peer = OldPeer(STORE, cluster.common["FTP_PORT"], cluster.common["ENCRYPTION_KEY"])
        assert peer.ask("LISTITEMS", path="") is None
        peer.close()
    until(lambda: lines(store, '"tcp": {"cypher1": true}'), what="the log names the key")
    assert len(lines(store, "cypher1")) == 1
