"""The store is killed in the middle of transfers of 50 MB: they go on where they were, and nothing half shows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .cluster_kit import Cluster, Process, program, tree

MB = 1_000_000
SIZE = 50 * MB
#: Bytes of outputs, another number for each test: equal ones would travel once.
COMMITTED, FETCHED = SIZE // 256 * 256, (SIZE - MB) // 256 * 256
NODE = "127.0.0.1"
#: Says what it got; leaves as many bytes as its argument says, which nobody knows beforehand.
MAIN = """\
import hashlib, os, sys
from pathlib import Path
from discomputify_core import program

data = Path("INPUT_PATH/data")
with program.open_output("digest", "w") as file:
    file.write(hashlib.sha256(data.read_bytes()).hexdigest() if data.exists() else "")
with program.open_output("attempt", "w") as file:
    file.write(os.environ["DISCOMPUTIFY_ATTEMPT"])
if len(sys.argv) > 4:
    with program.open_output("big", "wb") as file:
        file.write(bytes(range(256)) * (int(sys.argv[4]) // 256))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(
        tmp_path_factory.mktemp("cluster"), (NODE,), TRANSMISSION_CHUNK_SIZE=256 * 1024, RECV_CHUNK_SIZE=256 * 1024
    )
    try:
        yield made.start()
    finally:
        made.close()


def store_folder(cluster: Cluster) -> Path:
    return cluster.folder / "machines" / "store" / "store"


def growing(folder: Path, suffix: str) -> Path | None:
    """A file below *folder* that is being written, a fifth of it at least."""
    for path in folder.rglob(f"*{suffix}"):
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue
        if SIZE // 5 < size < SIZE:
            return path
    return None


def killed_while(cluster: Cluster, begins: Callable[[], Path | None], submitting: Process) -> Path:
    """Kill the store as soon as *begins* names a file that grows; returns that."""
    end = time.monotonic() + 60.0
    while (found := begins()) is None:
        assert time.monotonic() < end, "nothing was transferred"
        assert submitting.running, submitting.wait()
        time.sleep(0.001)
    cluster.roles["ftp_node"].kill()
    return found


def no_blob_is_half(cluster: Cluster) -> None:
    """Whatever looks like a blob has all its bytes: there are no big ones but those of these tests."""
    sizes = {path: len(data) for path, data in tree(store_folder(cluster) / "blobs").items() if data is not None}
    assert {size for size in sizes.values() if size > MB} <= {SIZE, COMMITTED, FETCHED}


def submitted(cluster: Cluster, folder: Path, job: str, *options: object) -> Process:
    return cluster.spawn("submit", folder, "-n", 1, "--process-id", job, *options)


def well(cluster: Cluster, submitting: Process, job: str) -> Path:
    """The job ends well, in its first attempt; its outputs."""
    submitting.wait().ok()
    out = cluster.here / job / f"{job}_1_1"
    assert (out / "attempt").read_text(encoding="utf-8") == "1"
    return out


def test_killed_during_an_upload(cluster: Cluster, tmp_path: Path) -> None:
    incoming = store_folder(cluster) / "incoming"
    data = os.urandom(SIZE)
    submitting = submitted(cluster, program(tmp_path / "up", MAIN, {"INPUT_PATH/data": data}), "up")
    part = killed_while(cluster, lambda: growing(incoming, ".part"), submitting)
    came, inode = part.stat().st_size, part.stat().st_ino
    assert SIZE // 5 < came < SIZE, "the upload had ended before the store was killed"
    no_blob_is_half(cluster)
    cluster.start_again("ftp_node")
    well(cluster, submitting, "up")
    # It went on with what was there: the same file became the blob.
    (blob,) = (path for path in (store_folder(cluster) / "blobs").rglob("*") if path.name == part.name.split("-")[0])
    assert (blob.stat().st_ino, blob.read_bytes()) == (inode, data)
    assert not list(incoming.iterdir())


def test_killed_while_a_part_is_being_started(cluster: Cluster, tmp_path: Path) -> None:
    cache = cluster.folder / "machines" / NODE / "cache"
    data = os.urandom(SIZE)
    submitting = submitted(cluster, program(tmp_path / "start", MAIN, {"INPUT_PATH/data": data}), "start")
    killed_while(cluster, lambda: growing(cache, ".new"), submitting)
    cluster.start_again("ftp_node")
    well(cluster, submitting, "start")
    assert not list(cache.rglob("*.new"))


def test_killed_while_outputs_are_committed(cluster: Cluster, tmp_path: Path) -> None:
    incoming = store_folder(cluster) / "incoming"
    submitting = submitted(cluster, program(tmp_path / "commit", MAIN), "commit", "--", COMMITTED)
    part = killed_while(cluster, lambda: growing(incoming, ".part"), submitting)
    inode = part.stat().st_ino
    no_blob_is_half(cluster)
    # No tree of the attempt is there before all its files are.
    assert [path for path in (store_folder(cluster) / "jobs" / "commit").iterdir() if "program" not in path.name] == []
    cluster.start_again("ftp_node")
    out = well(cluster, submitting, "commit")
    assert (out / "big").read_bytes() == bytes(range(256)) * (COMMITTED // 256)
    (blob,) = (path for path in (store_folder(cluster) / "blobs").rglob("*") if path.name == part.name.split("-")[0])
    assert blob.stat().st_ino == inode


def test_killed_while_outputs_are_fetched(cluster: Cluster, tmp_path: Path) -> None:
    well(cluster, submitted(cluster, program(tmp_path / "fetch", MAIN), "fetch", "--", FETCHED), "fetch")
    fetching = cluster.spawn("fetch", "fetch", "--out", tmp_path / "home")
    killed_while(cluster, lambda: growing(tmp_path / "home", ".new"), fetching)
    assert not list((tmp_path / "home").rglob("fetch_1_1/big"))
    cluster.start_again("ftp_node")
    fetching.wait().ok()
    (big,) = (tmp_path / "home").rglob("fetch_1_1/big")
    assert big.read_bytes() == bytes(range(256)) * (FETCHED // 256)
