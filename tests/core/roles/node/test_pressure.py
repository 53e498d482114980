"""When a node takes no new parts for want of room, what it says, and how it goes on."""

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.edge.calls import Peer
from discomputify_core.errors import Unreachable
from discomputify_core.interfaces.files import Blob
from discomputify_core.model.codec import from_plain
from discomputify_core.model.files import Entry
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.message import Beat
from discomputify_core.model.node import NodeLoad
from discomputify_core.roles.node import heart as heart_module
from discomputify_core.roles.node import load, pressure, returning
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.heart import Heart
from discomputify_core.roles.node.load import LoadMeter
from discomputify_core.roles.node.pressure import GB, MB, Pressure, of_disk, of_memory
from discomputify_core.roles.node.returning import Returning
from discomputify_testkit.confs import make_conf
from discomputify_testkit.fakes.memory_store import MemoryContents, MemoryStore, digest_of
from discomputify_testkit.running import run, until


def test_memory_and_disks_are_named_with_what_they_have() -> None:
    said = Pressure().judge([of_memory(700 * MB, 16 * GB), of_disk("/work", 100 * MB, 500 * GB)])
    assert said == (
        "memory is nearly used up: 700 MB of 16.0 GB are left, and new parts wait until there are 1.2 GB; "
        "the disk of /work is nearly used up: 100 MB of 500.0 GB are left, and new parts wait until there are 750 MB"
    )


@pytest.mark.parametrize(
    ("room", "short"),
    [
        (of_memory(801 * MB, 16 * GB), False),
        (of_memory(799 * MB, 16 * GB), True),
        (of_memory(499 * MB, 2 * GB), True),
        (of_memory(501 * MB, 2 * GB), False),
        (of_disk("/d", 501 * MB, 500 * GB), False),
        (of_disk("/d", 499 * MB, 500 * GB), True),
        (of_disk("/d", 1 * MB, 16 * MB), False),
    ],
)
def test_what_is_too_little(room: pressure.Room, short: bool) -> None:
    assert bool(Pressure().judge([room])) is short


@given(st.lists(st.integers(0, 2000), max_size=30))
def test_it_goes_on_by_itself_and_does_not_flicker(left: list[int]) -> None:
    judged, paused = Pressure(), False
    for each in left:
        now = bool(judged.judge([of_memory(each * MB, 10 * GB)]))
        if each < 500:
            assert now
        elif each >= 750:
            assert not now
        else:
            assert now is paused  # between the two nothing changes
        paused = now


def test_disks_are_looked_at_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / "work", tmp_path / "cache"]
    for folder in folders:
        folder.mkdir()
    meter = LoadMeter([*folders, tmp_path / "gone"])
    assert meter.load().paused == ""
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * MB, total=100 * GB)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert meter.load().paused.count("the disk of") == 1
    assert meter.short == (folders[0],)
    monkeypatch.undo()
    assert meter.load().paused == ""


# --- what a cache gives -------------------------------------------------------------------------------

JOB = ProcessId("job")


class Cached:
    """A cache that holds three blobs of a job, in the order in which they were used, and its store."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore(make_conf(), contents=MemoryContents())
        self.cache = BlobCache(folder, 10_000_000)
        self.entries = []
        for number in range(3):
            data = bytes([number]) * 1000
            self.store.contents.blobs[digest_of(data)] = data
            self.entries.append(Entry(f"file{number}", len(data), digest_of(data)))

    async def fill(self) -> None:
        """Have all of them."""
        self.cache.open()
        for entry in self.entries:
            await self.cache.ensure(self.store, JOB, [entry])


def test_a_cache_gives_room_by_what_nobody_needs_just_now(tmp_path: Path) -> None:
    cached = Cached(tmp_path)

    async def main() -> None:
        await cached.fill()
        cached.cache.pin("attempt", cached.entries[:1])
        assert cached.cache.make_room(1) == 1000
        assert cached.cache.used == 2000
        assert cached.cache.make_room(10**9) == 1000
        assert cached.cache.held(JOB) == 1000
        assert cached.cache.make_room(1) == 0
        await cached.cache.close()

    run(main())


def test_blobs_that_the_store_lost_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached, sent = Cached(tmp_path), list[tuple[str, list[str]]]()
    digests = [entry.digest for entry in cached.entries]
    put = MemoryStore.put

    async def noted(self: MemoryStore, process_id: ProcessId, blobs: list[Blob]) -> None:
        sent.append((process_id, [blob.digest for blob in blobs]))
        await put(self, process_id, blobs)

    async def wanted(self: MemoryStore) -> list[str]:
        return [*digests, "blake2b:" + "0" * 64]

    async def main() -> None:
        await cached.fill()
        returning_ = Returning(cached.store, cached.cache)
        monkeypatch.setattr(MemoryStore, "put", noted)
        monkeypatch.setattr(MemoryStore, "wanted", wanted)
        cached.store.contents.blobs.clear()
        # One that changed here is not handed on.
        cached.cache._disk.path(next(iter(cached.cache._index._blobs))).chmod(0o600)
        cached.cache._disk.path(next(iter(cached.cache._index._blobs))).write_bytes(b"x" * 1000)
        assert await returning_.once() == 2
        assert sent == [("job", digests[1:])]
        assert sorted(cached.store.contents.blobs) == sorted(digests[1:])
        cached.cache.drop(JOB)
        assert await returning_.once() == 2
        assert sent[1][0] == returning.NOBODYS
        assert cached.cache.make_room(10**9) == 2000  # nothing stays pinned
        assert await returning_.once() == 0
        await cached.cache.close()

    run(main())


def test_the_store_is_asked_at_once_when_something_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached, asked = Cached(tmp_path), asyncio.Semaphore(0)

    async def wanted(self: MemoryStore) -> list[str]:
        asked.release()
        raise Unreachable("no store")

    async def main() -> None:
        monkeypatch.setattr(MemoryStore, "wanted", wanted)
        monkeypatch.setattr(returning, "LEAST_GAP", 0.0)
        returning_ = Returning(cached.store, cached.cache)
        running = asyncio.ensure_future(returning_.run())
        for _ in range(2):  # a store that is away ends nothing
            returning_.soon()
            await asyncio.wait_for(asked.acquire(), 5)
        running.cancel()
        await asyncio.wait([running])

    run(main())


# --- beats --------------------------------------------------------------------------------------------


class Ear:
    """A master that hears beats."""

    def __init__(self) -> None:
        self.heard: list[NodeLoad] = []

    async def call(self, operation: str, data: Any, *, timeout: float) -> None:
        self.heard.append(from_plain(data, Beat).load)


def test_beats_tell_of_a_lack_of_room_and_of_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached, ear, available = Cached(tmp_path / "cache"), Ear(), [100 * MB]
    monkeypatch.setattr(load, "memory_left", lambda: (available[0], 10 * GB))

    async def main() -> None:
        await cached.fill()
        heart = Heart(lambda: cast("Peer", ear), tmp_path, cached.cache)
        heart.beat_every(0.0)
        beating = asyncio.ensure_future(heart.run())
        await until(lambda: ear.heard)
        assert ear.heard[-1].paused.startswith("memory is nearly used up: 100 MB of 10.0 GB are left, and")
        available[0] = 700 * MB
        await until(lambda: "700 MB" in ear.heard[-1].paused)
        available[0] = 800 * MB
        await until(lambda: not ear.heard[-1].paused)
        beating.cancel()
        await asyncio.wait([beating])
        await cached.cache.close()

    run(main())


def test_a_node_whose_disk_hangs_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached, ear, hangs = Cached(tmp_path / "cache"), Ear(), threading.Event()
    monkeypatch.setattr(heart_module, "LOOK", 0.01)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: (hangs.wait(20), usage)[1])

    async def main() -> None:
        heart = Heart(lambda: cast("Peer", ear), tmp_path, cached.cache)
        heart.beat_every(0.0)
        beating = asyncio.ensure_future(heart.run())
        try:
            await until(lambda: len(ear.heard) > 1)
        finally:
            hangs.set()
            beating.cancel()
            await asyncio.wait([beating])

    run(main())


def test_a_cache_on_a_disk_that_is_short_gives_room_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached, ear = Cached(tmp_path / "cache"), Ear()
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * MB, total=100 * GB)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)

    async def main() -> None:
        await cached.fill()
        heart = Heart(lambda: cast("Peer", ear), tmp_path / "gone", cached.cache)
        heart.beat_every(0.0)
        beating = asyncio.ensure_future(heart.run())
        await until(lambda: cached.cache.used == 0)
        beating.cancel()
        await asyncio.wait([beating])
        await cached.cache.close()

    run(main())
