"""Strangers at every service port, and peers that hold the key and send nonsense: the services go on for the others."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import psutil
import pytest

from discomputify_core.client.client import Client
from discomputify_core.edge import trees
from discomputify_core.edge.calls import Link
from discomputify_core.edge.connect import Connection, hello
from discomputify_core.errors import (
    BadInput,
    BadPath,
    BlobDamaged,
    BlobMissing,
    DiscomputifyError,
    NoSuchJob,
    NoSuchTree,
    OurBug,
    PeerBroke,
    Refused,
    Unreachable,
)
from discomputify_core.interfaces.transport import Channel
from discomputify_core.model.files import check_digest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.message import ANSWER, Message
from discomputify_ftp.hashing import digest_of
from discomputify_testkit.running import run

from .bad_kit import GOOD, NODE, check_serving, opened, standing
from .cluster_kit import Cluster, program, tree

#: Bytes by which a service may grow while strangers knock.
FLAT = 32 * 1024 * 1024
SILENT = 500
HUGE = 2**63 - 1
#: A digest of which nobody has the bytes.
ZERO = "blake3:" + "0" * 64
#: Each service has a stranger of its own, since log lines are rationed by address.
STRANGERS = {"master": "127.0.0.21", "store": "127.0.0.22", "query": "127.0.0.23"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standing(tmp_path_factory.mktemp("cluster")) as made:
        program(made.folder / "good", GOOD)
        made.cli("submit", made.folder / "good", "-n", 2, "--process-id", "warm").ok()
        yield made


@pytest.fixture(autouse=True)
def still_serving(cluster: Cluster) -> Iterator[None]:
    before = tree(Path(cluster.folder / "machines" / "store"))
    yield
    check_serving(cluster)
    # Nothing escaped from, or was left half done in, the store's folder.
    after = tree(Path(cluster.folder / "machines" / "store"))
    assert not [path for path in after.keys() - before.keys() if path.endswith((".new", ".part"))]


# --- without the key -----------------------------------------------------------------------------


def services(cluster: Cluster) -> dict[str, tuple[str, int]]:
    """Every port that listens, and which process does."""
    keys = cluster.common
    return {
        "master": (keys["MASTER_NODE"], keys["MASTER_PORT"]),
        "store": (keys["FTP_NODE"], keys["FTP_PORT"]),
        "query": (keys["QUERY_NODE"], keys["QUERY_PORT"]),
    }


def role_of(cluster: Cluster, service: str) -> Any:
    """The role process behind *service*."""
    return cluster.roles["master_node" if service == "master" else "ftp_node"]


def resident(cluster: Cluster, service: str) -> int:
    """Bytes of memory of the process behind *service*."""
    return int(psutil.Process(role_of(cluster, service).pid).memory_info().rss)


def heard(peer: socket.socket) -> bytes:
    """What the service says before it closes."""
    peer.settimeout(15.0)
    said = b""
    with contextlib.suppress(ConnectionError):
        while data := peer.recv(65536):
            said += data
    return said


NOISE = {
    "random bytes": os.urandom(200_000),
    "random bytes after the magic": b"CYP\x02" + os.urandom(200_000),
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: master\r\nConnection: keep-alive\r\n\r\n",
    "a TLS hello": bytes.fromhex("1603010200010001fc0303") + os.urandom(500),
    "a 4 GB length": b"\xff\xff\xff\xff",
    "a 4 GB length after the magic": b"CYP\x02\xff\xff\xff\xff" + bytes(1000),
    "a pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
    "zeros": bytes(100_000),
}


@pytest.mark.parametrize("service", STRANGERS)
def test_strangers_are_turned_away_and_memory_stays_flat(cluster: Cluster, service: str) -> None:
    where = services(cluster)[service]
    role = role_of(cluster, service)
    before, logged = resident(cluster, service), len(role.err)
    stranger = (STRANGERS[service], 0)
    for data in NOISE.values():
        for _ in range(5):
            with socket.create_connection(where, 10.0, stranger) as peer, contextlib.suppress(ConnectionError):
                peer.sendall(data)
                assert heard(peer) == b""
    for _ in range(50):  # gone before anything was said, and gone rudely
        with socket.create_connection(where, timeout=10.0) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert resident(cluster, service) - before < FLAT
    lines = role.err[logged:].splitlines()
    assert lines
    assert any(f"turned away {stranger[0]}:" in line for line in lines)
    assert all("turned away 127.0.0." in line for line in lines)


def test_half_open_connections_are_closed_in_time(cluster: Cluster) -> None:
    with contextlib.ExitStack() as stack:
        waiting = []
        for where in services(cluster).values():
            for begin in (b"", b"C", b"CYP\x02", b"CYP\x02\x00\x60" + bytes(20)):
                peer = stack.enter_context(socket.create_connection(where, timeout=10.0))
                peer.sendall(begin)
                waiting.append(peer)
            # This one says that no more will come, and waits for an answer all the same.
            half = stack.enter_context(socket.create_connection(where, timeout=10.0))
            half.shutdown(socket.SHUT_WR)
            waiting.append(half)
        cluster.cli("submit", cluster.folder / "good", "-n", 2).ok()
        assert [heard(peer) for peer in waiting] == [b""] * len(waiting)


def test_five_hundred_silent_connections_keep_nobody_out(cluster: Cluster) -> None:
    for service, where in services(cluster).items():
        before = resident(cluster, service)
        with contextlib.ExitStack() as stack:
            for _ in range(SILENT):
                stack.enter_context(socket.create_connection(where, timeout=10.0))
            cluster.cli("submit", cluster.folder / "good", "-n", 1).ok()
            assert resident(cluster, service) - before < FLAT
            assert len(psutil.Process(role_of(cluster, service).pid).net_connections("tcp")) < SILENT // 2


def test_work_goes_on_while_strangers_hammer(cluster: Cluster) -> None:
    over = threading.Event()
    knocks = []

    def hammer(where: tuple[str, int]) -> None:
        while not over.wait(0.002):
            with contextlib.suppress(OSError), socket.create_connection(where, timeout=5.0) as peer:
                peer.sendall(b"\xff" * 5000)
                knocks.append(where)

    threads = [threading.Thread(target=hammer, args=(where,)) for where in services(cluster).values()]
    before = {service: resident(cluster, service) for service in services(cluster)}
    logged = {name: len(role.err) for name, role in cluster.roles.items()}
    for thread in threads:
        thread.start()
    try:
        cluster.cli("submit", cluster.folder / "good", "-n", 8).ok()
    finally:
        over.set()
        for thread in threads:
            thread.join(15.0)
    assert len(set(knocks)) == 3
    for service, rss in before.items():
        assert resident(cluster, service) - rss < FLAT
    # A few lines for each address and second, not one for each knock.
    for name, role in cluster.roles.items():
        assert len(role.err[logged[name] :].splitlines()) < 100


# --- with the key --------------------------------------------------------------------------------


class Peers:
    """Connections of a peer that holds the key: to the master as a client and as a node, and to the store."""

    def __init__(self, cluster: Cluster) -> None:
        self.client = Connection(opened(cluster), hello("client", "nonsense"))
        self.node = Connection(opened(cluster), hello("computing_node", "nonsense"))
        self.master = self.client.master()
        self.files, self.query = self.client.store_links()
        self.as_node = self.node.master()

    async def __aenter__(self) -> Peers:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.close()
        await self.node.close()


async def refused(link: Link, operation: str, data: Any, body: bytes = b"") -> DiscomputifyError:
    """The error that *link* answers with; it is the peer's fault, and told at once."""
    shown = f"{operation:.60} {data!r:.200}"
    try:
        reply = await link.call(operation, data, body, timeout=10.0)
    except DiscomputifyError as error:
        answer = error
    else:
        raise AssertionError(f"{shown} was answered with {reply.data!r:.200}")
    said = f"{shown}: {type(answer).__name__}: {answer}"
    assert not isinstance(answer, (OurBug, Unreachable)), said
    assert "Traceback" not in said
    assert len(said) < 1500
    return answer


#: Data of no operation that takes any.
NONSENSE: tuple[Any, ...] = (
    None,
    0,
    "x",
    b"\xff",
    [],
    [1, 2, 3],
    {},
    {1: 2},
    {"process_id": None},
    {"process_id": 7},
    {"process_id": {"process_id": {}}},
    {b"process_id": "warm"},
)
#: What a job may not be asked.
STRANGE: tuple[dict[str, Any], ...] = (
    {"process_id": "../../etc/passwd"},
    {"process_id": "a/b"},
    {"process_id": ""},
    {"process_id": "x" * 900_000},
    {"process_id": "no-such-job"},
)
JOB_OPERATIONS = (
    "job.status",
    "job.watch",
    "job.outputs",
    "job.failed",
    "job.attempts",
    "job.log",
    "job.stop",
    "job.clear",
    "job.why",
    "job.submit",
)


def test_the_master_refuses_nonsense(cluster: Cluster) -> None:
    async def main() -> None:
        async with Peers(cluster) as peers:
            for operation in JOB_OPERATIONS:
                for data in NONSENSE:
                    assert isinstance(await refused(peers.master, operation, data), PeerBroke)
                for data in STRANGE:
                    error = await refused(peers.master, operation, data)
                    assert isinstance(error, (NoSuchJob, BadInput, PeerBroke))
            for operation in ("job.attempts", "job.log", "job.why"):
                for part in (-1, 3, HUGE):
                    error = await refused(peers.master, operation, {"process_id": "warm", "part": part})
                    assert isinstance(error, BadInput)
            for operation in ("", "nonsense", "job", "__class__", "job.submit\0", "node.work", "x" * 10_000):
                assert isinstance(await refused(peers.master, operation, None), Refused)

    run(main())


def test_counts_beyond_all_measure_are_answered_in_measure(cluster: Cluster) -> None:
    async def main() -> None:
        async with Peers(cluster) as peers:
            for after, limit in ((-5, -5), (HUGE, HUGE), (-HUGE, HUGE), (0, HUGE)):
                data = {"process_id": "warm", "after": after, "limit": limit}
                for operation in ("job.outputs", "job.failed"):
                    reply = await peers.master.call(operation, data, timeout=10.0)
                    assert len(reply.data.get("outputs", ())) <= 2
            for seen, timeout in ((-HUGE, -1e300), (-1, float("inf")), (HUGE, 1e300)):
                data = {"process_id": "warm", "seen": seen, "timeout": timeout}
                assert (await peers.master.call("job.watch", data, timeout=10.0)).data["state"] == "done"
            error = await refused(peers.master, "job.watch", {"process_id": "warm", "timeout": float("nan")})
            assert isinstance(error, PeerBroke)

    run(main())


def spec(**changes: Any) -> dict[str, Any]:
    """A job, as a client submits it, but for *changes*."""
    return {"process_id": "odd", "key": "k", "parts": 1, "tree": digest_of(b"no tree"), **changes}


def test_the_master_refuses_jobs_that_cannot_be(cluster: Cluster) -> None:
    cannot_be: tuple[dict[str, Any], ...] = (
        {"parts": 0},
        {"parts": -1},
        {"parts": 10_000_001},
        {"parts": HUGE},
        {"parts": True},
        {"parts": 1.5},
        {"parts": "1"},
        {"process_id": ".."},
        {"input_path": "../up"},
        {"output_path": "/etc"},
        {"output_path": ""},
        {"request": 7},
        {"request": {"cpus": 0}},
        {"request": {"memory": -1}},
        {"request": {"needs": {"gpu": 0}}},
        {"attempts": 0},
        {"lost_attempts": -1},
        {"args": [1]},
        {"env": []},
        {"env": {"A": 1}},
        {"key": ""},
        {"key": "x" * 100_000},
        {"owner": "x" * 1_000_000},
    )

    async def main() -> None:
        async with Peers(cluster) as peers:
            for changes in cannot_be:
                error = await refused(peers.master, "job.submit", spec(**changes))
                assert isinstance(error, (BadInput, PeerBroke)), changes
            listed = await peers.master.call("job.list", timeout=10.0)
            assert "odd" not in [job["process_id"] for job in listed.data["jobs"]]

    run(main())


def test_jobs_whose_program_is_not_theirs_fail_at_once(cluster: Cluster) -> None:
    """A digest that is no digest, that nobody has, and that another job has: the store keeps jobs apart."""

    async def main() -> None:
        async with Client(opened(cluster)) as client, Peers(cluster) as peers:
            other = (await client.status("warm")).tree
            for number, digest in enumerate(("zz", "", "blake3:" + "../" * 21 + "0", ZERO, other)):
                job = f"thief-{number}"
                if digest not in (ZERO, other):
                    assert isinstance(
                        await refused(peers.master, "job.submit", spec(process_id=job, tree=digest)), BadPath
                    )
                    continue
                await peers.master.call("job.submit", spec(process_id=job, tree=digest), timeout=10.0)
                ended = await client.wait(job, 10.0)
                assert (ended.state.value, ended.parts.failed) == ("failed", 1), digest
                assert "the store" in ended.reason
                await client.clear(job)

    run(main())


def test_jobs_that_no_program_can_be_given(cluster: Cluster, tmp_path: Path) -> None:
    """What a client would never send reaches a node: its attempts fail with a reason, and it goes on."""
    odd: dict[str, tuple[dict[str, Any], str]] = {
        "nul-argument": ({"args": ["a\0b"]}, "cannot be given"),
        "long-argument": ({"args": ["x" * 140_000]}, "cannot be given"),
        "nul-variable": ({"env": {"A": "b\0"}}, "cannot be given"),
        "odd-variable": ({"env": {"A=B": "c"}}, "cannot be given"),
        "key-up": ({"key": "../../../../escaped"}, "cannot name a folder"),
        "key-nul": ({"key": "\0"}, "may not be used"),
        "no-pattern": ({"collect": ["!"]}, "--collect: '!' is not a pattern"),
        "inputs-file": ({"input_path": "main.py"}, "where the folder 'main.py' is needed"),
    }

    async def main() -> None:
        async with Client(opened(cluster)) as client, Peers(cluster) as peers:
            scan = await client.scan(cluster.folder / "good")
            for job, (changes, said) in odd.items():
                up = await trees.upload(scan, client.store, ProcessId(job), "program-x", None)
                await peers.master.call("job.submit", spec(process_id=job, tree=up.digest, **changes), timeout=10.0)
                ended = await client.wait(job, 15.0)
                assert ended.state.value == "failed", job
                assert said in ended.reason, ended.reason
                await client.clear(job)

    run(main(), deadline=90.0)
    assert not list(cluster.folder.rglob("*escaped*"))


def test_the_master_refuses_nodes_that_cannot_be(cluster: Cluster) -> None:
    async def main() -> None:
        async with Peers(cluster) as peers:
            link = peers.as_node
            for operation in ("node.join", "node.beat", "node.report"):
                for data in NONSENSE:
                    if operation == "node.report" and data == {}:
                        continue  # a report of nothing; who makes it is asked below
                    await refused(link, operation, data)
            facts = (
                {"name": "n", "slots": "many"},
                {"name": "../up", "slots": 1},
                {"name": "", "slots": 1},
                {"name": "x" * 200, "slots": 1},
                {"name": "n", "slots": 1, "resources": [1]},
                {"name": "n", "slots": 1, "packages": {"a": 1}},
            )
            for each in facts:
                assert isinstance(await refused(link, "node.join", {"facts": each}), (BadInput, PeerBroke))
            # A live node's name, and reports of nobody.
            assert isinstance(await refused(link, "node.join", {"facts": {"name": NODE, "slots": 1}}), Refused)
            for operation, data in (
                ("node.beat", {"load": {"CPU_LOAD": 1.0}}),
                ("node.report", {}),
                (
                    "node.report",
                    {"ended": [{"attempt": "warm.1.1.x", "end": "done", "manifest": "blake3:" + "0" * 64}]},
                ),
                ("node.leave", None),
            ):
                assert isinstance(await refused(link, operation, data), Refused)

    run(main())


def test_a_node_that_lies_harms_no_job(cluster: Cluster) -> None:
    """It has joined, under its own name, without a slot, and tells of attempts that it was never given."""

    async def main() -> None:
        async with Peers(cluster) as peers, Client(opened(cluster)) as client:
            link = peers.as_node
            before = await client.status("warm")
            (attempt, *_) = await client.attempts("warm", 1)
            facts = {"name": "liar", "slots": 0, "memory": -1, "session": "s", "resources": {"gpu": -3}}
            joined = await link.call("node.join", {"facts": facts, "attempts": [attempt.attempt, "../x"]}, timeout=10.0)
            assert set(joined.data["stop"]) == {attempt.attempt, "../x"}
            lies = {
                "started": [attempt.attempt, "../x"],
                "progress": [{"attempt": attempt.attempt, "fraction": 1e308, "note": "x" * 100_000}],
                "ended": [{"attempt": attempt.attempt, "end": "done", "manifest": "blake3:" + "0" * 64}],
            }
            await link.call("node.report", lies, timeout=10.0)
            for wrong in ({"ended": [{"attempt": "x", "end": "odd"}]}, {"ended": "xyz"}, {"started": [7]}):
                assert isinstance(await refused(link, "node.report", wrong), PeerBroke)
            beat = {"load": {"CPU_LOAD": float("inf"), "MEM_LOAD": -5.0}, "held": [["warm", -1], ["../x", HUGE]]}
            await link.call("node.beat", beat, timeout=10.0)
            assert await client.status("warm") == before
            (same, *_) = await client.attempts("warm", 1)
            assert same == attempt
            submitted = await client.submit(cluster.folder / "good", 4)
            assert (await client.wait(submitted.status.process_id, 20.0)).nodes == {NODE: 4}
            await link.call("node.leave", timeout=10.0)

    try:
        run(main())
        assert cluster.node_states()["liar"]["state"] == "left"
    finally:  # a master that has lost everything knows neither the liar nor the job
        cluster.roles["master_node"].stop()
        shutil.rmtree(cluster.folder / "machines" / "master" / "master")
        cluster.start_again("master_node")
        warm = ("-n", 2, "--process-id", "warm", "--out", cluster.folder / "again")
        cluster.cli("submit", cluster.folder / "good", *warm).ok()


BYTES = b"hello"
DIGEST = digest_of(BYTES)


def blobs(*pairs: Any, job: str = "odd") -> dict[str, Any]:
    return {"process_id": job, "blobs": list(pairs)}


def chunk(**changes: Any) -> dict[str, Any]:
    return {"process_id": "odd", "digest": DIGEST, **changes}


def manifest(rows: Any, **changes: Any) -> tuple[dict[str, Any], bytes]:
    packed: bytes = msgpack.packb(rows)
    return {"process_id": "odd", "tree": "program", "digest": digest_of(packed), "size": len(packed), **changes}, packed


BAD_BLOBS: tuple[tuple[dict[str, Any], bytes], ...] = (
    (blobs(["../../etc/passwd", 5]), BYTES),
    (blobs(["blake3:" + "../" * 21 + "0", 5]), BYTES),
    (blobs(["sha256:" + "0" * 64, 5]), BYTES),
    (blobs(["", 0]), b""),
    (blobs([DIGEST, 5, 6]), BYTES),
    (blobs([DIGEST, "5"]), BYTES),
    (blobs([DIGEST, 5], job="../up"), BYTES),
)
BAD_PUTS: tuple[tuple[dict[str, Any], bytes], ...] = (
    (blobs([DIGEST, -1]), b""),
    (blobs([DIGEST, HUGE]), BYTES),
    (blobs([DIGEST, 4], [DIGEST, 1]), BYTES),
    (blobs([DIGEST, 5], [DIGEST, -5]), b""),
    (blobs([ZERO, 5]), BYTES),
)
BAD_CHUNKS: tuple[tuple[dict[str, Any], bytes], ...] = (
    (chunk(size=-1), BYTES),
    (chunk(size=5, offset=-1), BYTES),
    (chunk(size=5, length=-5), BYTES),
    (chunk(size=5, digest="../../x"), BYTES),
    (chunk(size="5"), BYTES),
)
BAD_TREES: tuple[tuple[dict[str, Any], bytes], ...] = (
    manifest([["../x", 5, DIGEST, 0]]),
    manifest([["/etc/x", 5, DIGEST, 0]]),
    manifest([["a/../../x", 5, DIGEST, 0]]),
    manifest([["a\\..\\x", 5, DIGEST, 0]]),
    manifest([["x", -5, DIGEST, 0]]),
    manifest([["x", 5, "zz", 0]]),
    manifest([["x", 5, DIGEST, 0], ["x", 5, DIGEST, 0]]),
    manifest([["x", 5, DIGEST, 0], ["x/y", 5, DIGEST, 0]]),
    manifest([["x", 5]]),
    manifest([1, 2]),
    manifest({}),
    manifest("x"),
    manifest([], tree="a\0b"),
    manifest([], tree=""),
    manifest([], tree="x" * 600),
    manifest([], process_id=".."),
    manifest([], size=3),
    manifest([], digest=DIGEST),
    ({"process_id": "odd", "tree": "t", "digest": DIGEST, "size": 5}, BYTES),
    ({"process_id": "odd", "tree": "t", "digest": ZERO, "size": HUGE}, b""),
    ({"process_id": "odd", "tree": "t", "digest": ZERO, "size": -1}, b""),
)
STORE_OPERATIONS = (
    "store.missing",
    "store.put",
    "store.far",
    "store.append",
    "store.commit",
    "store.manifest",
    "store.fetch",
    "store.read",
    "store.damaged",
    "store.clear",
)


def test_the_store_refuses_nonsense(cluster: Cluster) -> None:
    async def main() -> None:
        async with Peers(cluster) as peers:
            for link in (peers.files, peers.query):
                for operation in STORE_OPERATIONS:
                    for data in NONSENSE:
                        assert isinstance(await refused(link, operation, data), PeerBroke)
                assert isinstance(await refused(link, "store.nonsense", None), Refused)
            for operation in ("store.missing", "store.put", "store.fetch"):
                for data, body in BAD_BLOBS:
                    assert isinstance(
                        await refused(peers.files, operation, data, body),
                        (BadInput, PeerBroke, BlobMissing, BlobDamaged),
                    ), (operation, data)
            for data, body in BAD_PUTS:
                assert isinstance(await refused(peers.files, "store.put", data, body), (PeerBroke, BlobDamaged)), data
            for operation in ("store.far", "store.append", "store.read", "store.damaged"):
                for data, body in BAD_CHUNKS:
                    assert isinstance(
                        await refused(peers.files, operation, data, body), (BadInput, PeerBroke, BlobMissing)
                    ), (operation, data)
            for data, body in BAD_TREES:
                error = await refused(peers.files, "store.commit", data, body)
                assert isinstance(error, (BadInput, PeerBroke, BlobDamaged, BlobMissing)), data
            deep = b"\x91" * 100_000 + b"\xc0"
            data = {"process_id": "odd", "tree": "t", "digest": digest_of(deep), "size": len(deep)}
            assert isinstance(await refused(peers.files, "store.commit", data, deep), BadPath)

    run(main(), deadline=60.0)


def test_the_store_gives_nobody_more_than_there_is(cluster: Cluster) -> None:
    async def main() -> None:
        async with Client(opened(cluster)) as client, Peers(cluster) as peers:
            tree_of = (await client.status("warm")).tree
            (entry, *_) = (await client.store.manifest(ProcessId("warm"), check_digest(tree_of))).files
            for asked in (
                chunk(digest=entry.digest, size=entry.size, offset=HUGE, length=5),
                chunk(digest=entry.digest, size=entry.size, offset=0, length=HUGE),
                chunk(digest=entry.digest, size=HUGE, offset=0, length=5),
            ):
                try:
                    reply = await peers.files.call("store.read", asked, timeout=10.0)
                except (PeerBroke, BlobMissing):
                    continue
                assert len(reply.body) <= entry.size
            many = blobs(*[[entry.digest, entry.size]] * 10_000)
            with contextlib.suppress(PeerBroke):
                reply = await peers.files.call("store.fetch", many, timeout=10.0)
                assert len(reply.body) == 10_000 * entry.size
            for size in (2**40, HUGE):
                assert isinstance(await refused(peers.files, "store.fetch", blobs([entry.digest, size])), PeerBroke)
            # Another job's tree is none of this one's business, whoever asks.
            error = await refused(peers.files, "store.manifest", {"process_id": "odd", "digest": tree_of})
            assert isinstance(error, NoSuchTree)
            # A blob of a petabyte is promised nothing.
            error = await refused(peers.files, "store.far", chunk(digest=ZERO, size=10**15))
            assert "No space" in str(error)

    run(main())


def test_messages_that_are_none(cluster: Cluster) -> None:
    """Beneath requests: answers nobody asked for, orders without a request, thousands at once, a cut in the middle."""

    async def dialled(peers: Peers, link: Link, role: str) -> Channel:
        return await peers.client.transport.dial(link.address, role, hello("x" * 1000, "\0\n\x1b[31m"), 10.0)

    async def main() -> None:
        async with Peers(cluster) as peers:
            for link, role in ((peers.master, "master_node"), (peers.files, "ftp_node")):
                channel = await dialled(peers, link, role)
                ids = link.ids
                for data in ({"ok": 1}, {"error": 7}, None, 3):
                    await channel.send(Message(ANSWER, data, b"x" * 1000, ids.take()))
                    await channel.send(Message(ANSWER, data))
                for operation in ("job.stop", "store.clear", "nonsense", ""):
                    await channel.send(Message(operation, {"process_id": 7}))
                for _ in range(3000):
                    await channel.send(Message("nonsense", None, b"", ids.take()))
                answer = await channel.receive()
                assert answer.operation == ANSWER
                assert answer.data["error"]["kind"] == "Refused"
                await channel.close()
                big = await dialled(peers, link, role)
                await big.send(Message("nonsense", None, bytes(16 * 1024 * 1024), ids.take()))
                await big.close()

    before = {service: resident(cluster, service) for service in services(cluster)}
    run(main())
    for service, rss in before.items():
        assert resident(cluster, service) - rss < 4 * FLAT
