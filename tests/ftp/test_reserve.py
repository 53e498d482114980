"""Below its reserve the store takes what was computed and no programs; and says so."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
import pytest

from discomputify_core.errors import BlobDamaged, StoreFull
from discomputify_core.model.message import Hello
from discomputify_ftp.room import LEAST, Room
from discomputify_ftp.store import FtpStore
from discomputify_testkit.loopback import LoopbackCaller
from discomputify_testkit.running import run, until

RESERVE = 10_000_000


@contextmanager
def free(count: int, total: int = 10**12) -> Iterator[None]:
    """While inside, every disk has so many bytes free."""
    real = shutil.disk_usage(Path(__file__).parent)
    with patch("shutil.disk_usage", lambda _: real._replace(total=total, free=count)):
        yield


def store_of(r: Any, role: str) -> FtpStore:
    """The store as a process of that role sees it."""
    caller = LoopbackCaller(r.node.operations(), Hello(role))
    return FtpStore(r.conf, None, caller, caller)


@pytest.mark.parametrize(
    ("total", "reserve"), [(10**9, LEAST), (40 * 10**9, LEAST), (100 * 10**9, 5 * 10**9), (10**12, 5 * 10**10)]
)
def test_the_reserve_is_the_larger_of_two_gigabytes_and_a_twentieth(tmp_path: Path, total: int, reserve: int) -> None:
    room = Room(tmp_path)
    with free(reserve, total):
        assert room.full() == ""
        room.check(0, reserve=False)
    with free(reserve - 1, total):
        assert f"{reserve:,}" in room.full()
        with pytest.raises(StoreFull, match=r"RESERVE in its conf\): outputs are taken, uploads are not\. Free space"):
            room.check(0, reserve=False)
        room.check(1, reserve=True)


def test_the_conf_may_say_another_reserve(tmp_path: Path) -> None:
    with free(1000):
        assert not Room(tmp_path, 1000).full()
        assert "1,001" in Room(tmp_path, 1001).full()


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_an_upload_that_would_use_up_the_reserve_is_refused_before_it_travels(rig: Any, size: int) -> None:
    async def main() -> None:
        async with rig(reserve=RESERVE) as r:
            blob = r.blob("one", os.urandom(size))
            with free(RESERVE + size - 1):
                with pytest.raises(StoreFull, match=rf"{size:,} more would use up its reserve of 10,000,000"):
                    await r.store.put(r.job, [blob])
                assert not r.at(blob).exists()
                assert r.incoming() == []
                assert not (await r.store.status()).full
            if size > r.chunk:
                assert r.caller.body_bytes_out == 0
            with free(RESERVE + size + 10_000):
                await r.keep(blob)

    run(main())


@pytest.mark.parametrize("role", ["computing_node", "master_node"])
def test_the_reserve_is_for_nodes_and_the_master(rig: Any, role: str) -> None:
    async def main() -> None:
        async with rig(reserve=RESERVE) as r:
            blobs = [r.blob("small", b"1"), r.blob("big", os.urandom(1_000_000))]
            store = store_of(r, role)
            with free(2_000_000):
                await store.put(r.job, blobs)
                await store.commit(r.job, "attempt", r.manifest(*blobs))
            with free(100), pytest.raises(StoreFull, match="No space is left"):
                await store.put(r.job, [r.blob("more", os.urandom(1_000_000))])

    run(main())


def test_an_upload_under_way_when_the_reserve_begins_leaves_nothing_behind(rig: Any) -> None:
    async def main() -> None:
        async with rig(reserve=RESERVE) as r:
            blob = r.blob("one", os.urandom(5_000_000))
            plain = r.caller.call
            with ExitStack() as stack:
                full: AbstractContextManager[None] = free(RESERVE)

                async def call(operation: str, *args: Any, **kw: Any) -> Any:
                    nonlocal full
                    reply = await plain(operation, *args, **kw)
                    if operation == "store.append":
                        stack.enter_context(full)
                        full = nullcontext()
                    return reply

                r.caller.call = call
                with pytest.raises(StoreFull):
                    await r.store.put(r.job, [blob])
            # Another chunk may have been on its way to be refused, too.
            await until(lambda: r.incoming() == [])
            r.caller.call = plain
            await r.keep(blob)

    run(main())


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_what_mends_the_store_is_taken_from_everybody(rig: Any, size: int) -> None:
    async def main() -> None:
        async with rig(reserve=RESERVE) as r:
            blob = r.blob("one", os.urandom(size))
            await r.keep(blob)
            r.at(blob).chmod(0o600)
            r.at(blob).write_bytes(bytes(size))
            out = attrs.evolve(blob, path=r.local / "out")
            with pytest.raises(BlobDamaged):
                await r.store.get(r.job, [out])
            with free(RESERVE - 1):
                await r.store.put(r.job, [blob])
            await r.store.get(r.job, [out])

    run(main())


def test_old_clients_write_no_programs_into_the_reserve(rig: Any) -> None:
    async def main() -> None:
        async with rig(reserve=RESERVE) as r:
            with free(RESERVE - 1):
                answer = await r.ask("WRITE", "job/main.py", [b"1234".hex(), 0], {"FILESIZE": 8, "UPLOADED": 4})
            assert answer.data == "NONE"
            assert "reserve" in answer.metadata["ERROR"]
            # Nobody takes the rest for the whole.
            await r.ask("WRITE", "job/main.py", [b"5678".hex(), 1], {"FILESIZE": 8, "UPLOADED": 8})
            assert (await r.ask("READ", "job/main.py", 0)).data == "NONE"
            assert await r.write("job/main.py", b"12345678") == ["DONE", "DONE"]
            assert await r.read("job/main.py") == b"12345678"

    run(main())
