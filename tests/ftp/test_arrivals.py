"""Big blobs: resumed, in any order, each byte once, through cuts and restarts."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import attrs
import pytest

from discomputify_core.errors import BlobDamaged, PeerBroke, Unreachable
from discomputify_ftp import arrivals, wire
from discomputify_testkit.loopback import Fault
from discomputify_testkit.running import run

CHUNKS = 5


def data_of(rig: Any) -> bytes:
    return os.urandom(rig.chunk * (CHUNKS - 1) + 12345)


async def append(rig: Any, blob: Any, offset: int, data: bytes) -> int:
    about = {"process_id": "job", "digest": blob.digest, "size": blob.size, "offset": offset}
    return int((await rig.caller.call(wire.APPEND, about, data)).data["held"])


@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("cut", range(CHUNKS))
def test_a_transfer_cut_at_any_chunk_resumes(
    rig: Any, monkeypatch: pytest.MonkeyPatch, cut: int, restart: bool, arrives: bool
) -> None:
    async def main() -> None:
        async with rig() as r:
            data = data_of(r)
            blob = r.blob("big", data)
            plain = r.caller.call

            async def cutting(operation: str, about: Any = None, *more: Any, **kw: Any) -> Any:
                mine = operation == wire.APPEND and about.get("offset", 0) == cut * r.chunk
                if arrives or not mine:
                    reply = await plain(operation, about, *more, **kw)
                if mine:
                    raise Unreachable("cut")
                return reply

            with monkeypatch.context() as patch:
                patch.setattr(r.caller, "call", cutting)
                with pytest.raises(Unreachable):
                    await r.store.put(r.job, [blob])
            # A chunk that was answered is held with all before it; how many others were in time is open.
            held = min((cut + 1) * r.chunk, blob.size) if arrives else 0
            assert r.at(blob).exists() or held < blob.size
            assert not r.at(blob).exists() or r.at(blob).read_bytes() == data
            if restart:
                await r.restart()
            before = r.caller.body_bytes_out
            moved: list[int] = []
            await r.store.put(r.job, [blob], moved.append)
            assert r.at(blob).read_bytes() == data
            assert r.incoming() == []
            assert sum(moved) == r.caller.body_bytes_out - before
            assert sum(moved) <= blob.size - held

    run(main())


@pytest.mark.parametrize("fault", [Fault.REPEATED, Fault.ANSWER_LOST, Fault.REQUEST_LOST])
def test_what_arrives_twice_counts_once(rig: Any, fault: Fault) -> None:
    async def main() -> None:
        async with rig(lambda operation, number: fault) as r:
            blobs = [r.blob("big", data_of(r)), r.blob("small", b"small"), r.blob("empty", b"")]
            digest = await r.keep(*blobs)
            assert r.at(blobs[0]).stat().st_size == blobs[0].size
            assert await r.store.manifest(r.job, digest) == r.manifest(*blobs)
            await r.store.clear(r.job)
            assert (await r.store.status()).blobs == 0

    run(main())


def test_chunks_in_the_wrong_order_wait_for_those_before(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            data = data_of(r)
            blob = r.blob("big", data)
            offsets = list(range(0, blob.size, r.chunk))
            calls = [append(r, blob, at, data[at : at + r.chunk]) for at in [*reversed(offsets), *offsets]]
            assert max(await asyncio.gather(*calls)) == blob.size
            assert r.at(blob).read_bytes() == data

    run(main())


def test_a_chunk_whose_predecessors_never_come_is_given_up(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "PATIENCE", 0.05)

    async def main() -> None:
        async with rig() as r:
            blob = r.blob("big", data_of(r))
            with pytest.raises(PeerBroke):
                await append(r, blob, r.chunk, b"late")
            for offset, data in ((0, b""), (blob.size, b"x"), (0, b"x" * (blob.size + 1))):
                with pytest.raises(PeerBroke):
                    await append(r, blob, offset, data)

    run(main())


def test_overlapping_chunks_of_two_senders_fit_together(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            data = data_of(r)
            blob = r.blob("big", data)
            assert await append(r, blob, 0, data[:1000]) == 1000
            assert await append(r, blob, 500, data[500:1500]) == 1500
            assert await append(r, blob, 0, data[:100]) == 1500
            assert await append(r, blob, 1200, data[1200:]) == blob.size
            assert r.at(blob).read_bytes() == data

    run(main())


def test_many_jobs_send_one_blob_at_once(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            blob = r.blob("big", data_of(r))
            await asyncio.gather(*(r.store.put(f"job{n}", [blob]) for n in range(4)))
            assert r.at(blob).stat().st_size == blob.size
            assert (await r.store.status()).blobs == 1

    run(main())


def test_a_beginning_that_somebody_spoilt_is_thrown_away(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            data = data_of(r)
            blob = r.blob("big", data)
            assert await append(r, blob, 0, b"spoilt") == 6
            await r.store.put(r.job, [blob])
            assert r.at(blob).read_bytes() == data

    run(main())


def test_a_changed_big_file_is_named_and_leaves_nothing(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            blob = r.blob("big", data_of(r))
            blob.path.write_bytes(os.urandom(blob.size))
            with pytest.raises(BlobDamaged) as caught:
                await r.store.put(r.job, [blob])
            assert caught.value.fields["digest"] == blob.digest
            assert str(blob.path) in str(caught.value)
            assert r.incoming() == []
            assert await r.store.missing(r.job, [(blob.digest, blob.size)]) == [blob.digest]

    run(main())


def test_a_file_that_is_gone_or_short_is_named(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            for data in (b"small", data_of(r)):
                blob = r.blob("gone", data)
                blob.path.unlink()
                with pytest.raises(BlobDamaged, match="gone"):
                    await r.store.put(r.job, [blob])

    run(main())


def test_a_blob_that_was_complete_when_the_service_died_is_taken(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            data = data_of(r)
            blob = r.blob("big", data)
            (r.base / "incoming" / f"{blob.digest.partition(':')[2]}-{blob.size}.part").write_bytes(data)
            moved: list[int] = []
            await r.store.put(r.job, [blob], moved.append)
            assert moved == []
            assert r.at(blob).read_bytes() == data

    run(main())


def test_a_fetch_goes_on_over_lost_answers_and_fails_whole_on_a_cut(rig: Any) -> None:
    reads = 0
    cut = 0

    def faults(operation: str, number: int) -> Fault:
        nonlocal reads
        reads += operation == wire.READ
        if operation == wire.READ and reads == cut:
            return Fault.CUT_AFTER
        return Fault.ANSWER_LOST if operation == wire.READ else Fault.NONE

    async def main() -> None:
        nonlocal cut, reads
        async with rig(faults) as r:
            blob = r.blob("big", data_of(r))
            await r.keep(blob)
            out = attrs.evolve(blob, path=r.local / "out")
            for at in range(1, CHUNKS + 1):
                cut, reads = at, 0
                with pytest.raises(Unreachable):
                    await r.store.get(r.job, [out])
                assert [path.name for path in r.local.iterdir()] == ["big"]
            cut = 0
            await r.store.get(r.job, [out])
            assert out.path.read_bytes() == blob.path.read_bytes()

    run(main())
