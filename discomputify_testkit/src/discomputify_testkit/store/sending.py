"""F-1 … F-14: blobs on their way in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import pytest

from discomputify_core.errors import BlobDamaged, StoreFull
from discomputify_core.interfaces.files import Blob, FileStore
from discomputify_core.model.files import check_digest
from discomputify_testkit.loopback import Fault
from discomputify_testkit.running import async_test
from discomputify_testkit.store.base import JOB, OTHER, StoreSuite, at, blob_of, committed, lacks, manifest_of, within

MIB = 1024 * 1024


def pattern(size: int, seed: int = 0) -> bytes:
    """*size* bytes that do not repeat every power of two."""
    return (bytes((seed + n * 7) % 251 for n in range(251)) * (size // 251 + 1))[:size]


class Sending(StoreSuite):
    """Clauses about missing and put."""

    @async_test
    async def test_f_01_an_empty_store_lacks_everything_in_order_and_once(self, tmp_path: Path) -> None:
        """F-1."""
        async with self.make_store(tmp_path / "store") as store:
            one, two, three = (blob_of(store, tmp_path / name, name.encode()) for name in ("one", "two", "three"))
            assert await lacks(store, two, one, two, three, one) == [two.digest, one.digest, three.digest]
            assert await lacks(store) == []

    @async_test
    async def test_f_02_what_was_put_is_held_and_nothing_else(self, tmp_path: Path) -> None:
        """F-2."""
        async with self.make_store(tmp_path / "store") as store:
            one, two = blob_of(store, tmp_path / "one", b"one"), blob_of(store, tmp_path / "two", b"two")
            await within(store.put(JOB, [one]))
            assert await lacks(store, one, two) == [two.digest]
            await within(store.put(JOB, []))

    @async_test
    async def test_f_03_a_blob_of_another_size_is_not_the_blob(self, tmp_path: Path) -> None:
        """F-3."""
        async with self.make_store(tmp_path / "store") as store:
            one = blob_of(store, tmp_path / "one", b"one")
            await within(store.put(JOB, [one]))
            assert await lacks(store, attrs.evolve(one, size=4)) == [one.digest]

    @pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 9 * MIB + 7])
    @async_test
    async def test_f_04_blobs_of_every_size_go_in_and_come_out(self, tmp_path: Path, size: int) -> None:
        """F-4."""
        async with self.make_store(tmp_path / "store") as store:
            data = pattern(size)
            blob = blob_of(store, tmp_path / "in", data)
            moved: list[int] = []
            await within(store.put(JOB, [blob], moved.append))
            assert sum(moved) == size
            moved.clear()
            await within(store.get(JOB, [at(blob, tmp_path / "out")], moved.append))
            assert sum(moved) == size
            assert (tmp_path / "out").read_bytes() == data

    @async_test
    async def test_f_05_a_thousand_small_ones(self, tmp_path: Path) -> None:
        """F-5."""
        async with self.make_store(tmp_path / "store") as store:
            blobs = [blob_of(store, tmp_path / "in" / str(n), b"%d" % n * (n % 50)) for n in range(1000)]
            await within(store.put(JOB, blobs))
            assert await lacks(store, *blobs) == []
            (tmp_path / "out").mkdir()
            await within(store.get(JOB, [at(blob, tmp_path / "out" / blob.path.name) for blob in blobs]))
            assert all((tmp_path / "out" / b.path.name).read_bytes() == b.path.read_bytes() for b in blobs)

    @async_test
    async def test_f_06_what_is_held_is_not_sent_again(self, tmp_path: Path) -> None:
        """F-6."""
        async with self.make_store(tmp_path / "store") as store:
            blobs = [blob_of(store, tmp_path / str(n), pattern(n * 100_000, n)) for n in range(10)]
            moved: list[int] = []
            await within(store.put(JOB, blobs[:9]))
            await within(store.put(JOB, blobs, moved.append))
            assert sum(moved) == blobs[9].size

    @async_test
    async def test_f_07_one_blob_at_several_places_is_one_blob(self, tmp_path: Path) -> None:
        """F-7."""
        async with self.make_store(tmp_path / "store") as store:
            copies = [blob_of(store, tmp_path / name, b"same bytes") for name in "abc"]
            await within(store.put(JOB, copies))
            await within(store.get(JOB, [at(copies[0], tmp_path / "out" / n) for n in _made(tmp_path / "out", "abc")]))
            assert all((tmp_path / "out" / name).read_bytes() == b"same bytes" for name in "abc")

    @pytest.mark.parametrize("size", [10, 3 * MIB])
    @async_test
    async def test_f_08_a_file_that_changed_is_noticed_and_not_held(self, tmp_path: Path, size: int) -> None:
        """F-8."""
        async with self.make_store(tmp_path / "store") as store:
            good = blob_of(store, tmp_path / "good", b"good")
            for change in (pattern(size, 1), pattern(size - 1), pattern(size + 1), b""):
                blob = blob_of(store, tmp_path / "changing", pattern(size))
                blob.path.write_bytes(change)
                with pytest.raises(BlobDamaged) as caught:
                    await within(store.put(JOB, [blob]))
                assert caught.value.fields["digest"] == blob.digest
                assert await lacks(store, blob) == [blob.digest]
            # Nothing of the wrong bytes is left behind to spoil the right ones.
            blob.path.write_bytes(pattern(size))
            await within(store.put(JOB, [good, blob]))
            assert await lacks(store, good, blob) == []

    @async_test
    async def test_f_09_a_cut_transfer_shows_nothing_and_is_resumed(self, tmp_path: Path) -> None:
        """F-9."""
        self.need("resumes")
        async with self.make_store(tmp_path / "store") as store:
            blob = blob_of(store, tmp_path / "in", pattern(24 * MIB))
            before = await self._cut_halfway(store, blob)
            assert await lacks(store, blob) == [blob.digest]
            moved: list[int] = []
            await within(store.put(JOB, [blob], moved.append))
            assert sum(moved) < blob.size, f"{before} bytes had been moved before, and all were sent again"
            await within(store.get(JOB, [at(blob, tmp_path / "out")]))
            assert (tmp_path / "out").read_bytes() == blob.path.read_bytes()

    @async_test
    async def test_f_10_a_resumed_transfer_of_a_changed_file_ends_well(self, tmp_path: Path) -> None:
        """F-10."""
        self.need("resumes")
        async with self.make_store(tmp_path / "store") as store:
            data = pattern(24 * MIB)
            blob = blob_of(store, tmp_path / "in", data)
            blob.path.write_bytes(b"wrong" + data[5:])
            await self._cut_halfway(store, blob)
            blob.path.write_bytes(data)
            await within(store.put(JOB, [blob]))
            await within(store.get(JOB, [at(blob, tmp_path / "out")]))
            assert (tmp_path / "out").read_bytes() == data

    async def _cut_halfway(self, store: FileStore, blob: Blob) -> int:
        """Send *blob* and end in the middle, as when the client dies; how much was moved."""
        loop = asyncio.get_running_loop()
        total = 0

        def moved(count: int) -> None:
            nonlocal total
            total += count
            if total >= blob.size // 2:
                loop.call_soon_threadsafe(putting.cancel)

        putting = loop.create_task(store.put(JOB, [blob], moved))
        with pytest.raises(asyncio.CancelledError):
            await within(putting)
        return total

    @async_test
    async def test_f_11_jobs_may_send_the_same_blobs_at_once(self, tmp_path: Path) -> None:
        """F-11."""
        async with self.make_store(tmp_path / "store") as store:
            blobs = [blob_of(store, tmp_path / "in" / str(n), pattern(n * 300_000, n)) for n in range(12)]
            backwards = blobs[::-1]
            await within(
                asyncio.gather(*(store.put(job, some) for job in (JOB, OTHER) for some in (blobs, backwards, blobs)))
            )
            assert await lacks(store, *blobs) == []
            outs = [at(blob, tmp_path / blob.path.name) for blob in blobs]
            await within(store.get(JOB, outs))
            assert all(out.path.read_bytes() == blob.path.read_bytes() for out, blob in zip(outs, blobs, strict=True))

    @async_test
    async def test_f_12_a_digest_names_its_algorithm_and_does_not_depend_on_the_pieces(self, tmp_path: Path) -> None:
        """F-12."""
        async with self.make_store(tmp_path / "store") as store:
            whole, pieces, empty = store.hasher(), store.hasher(), store.hasher()
            data = pattern(100_000)
            whole.update(data)
            pieces.update(data[:1])
            pieces.update(memoryview(data)[1:60_000])
            pieces.update(bytearray(data[60_000:]))
            assert check_digest(whole.digest()) == pieces.digest()
            assert check_digest(empty.digest()) != whole.digest()

    @async_test
    async def test_f_13_lost_and_repeated_calls_change_nothing(self, tmp_path: Path) -> None:
        """F-13."""
        self.need("over_calls")
        faults = [Fault.REQUEST_LOST, Fault.NONE, Fault.ANSWER_LOST, Fault.REPEATED]
        async with self.make_store(tmp_path / "store", lambda _, number: faults[number % 4]) as store:
            blobs = [blob_of(store, tmp_path / "in" / str(n), pattern(n * 700_000, n)) for n in range(10)]
            await within(store.put(JOB, blobs))
            assert await lacks(store, *blobs) == []
            (tmp_path / "out").mkdir()
            outs = [at(blob, tmp_path / "out" / blob.path.name) for blob in blobs]
            await within(store.get(JOB, outs))
            assert all(out.path.read_bytes() == blob.path.read_bytes() for out, blob in zip(outs, blobs, strict=True))

    @async_test
    async def test_f_14_below_the_reserve_outputs_are_taken_and_uploads_are_not(self, tmp_path: Path) -> None:
        """F-14."""
        self.need("has_reserve")
        async with self.make_store(tmp_path / "store") as store:
            small, big, held = (blob_of(store, tmp_path / n, pattern(s, s)) for n, s in SIZES.items())
            await committed(store, OTHER, "program", [held])
            assert not (await within(store.status())).full
            with self.filled(store) as node:
                said = (await within(store.status())).full
                assert "reserve" in said
                for blob in (small, big):
                    with pytest.raises(StoreFull, match="reserve"):
                        await within(store.put(JOB, [blob]))
                assert await lacks(store, small, big, held) == [small.digest, big.digest]
                await committed(node, OTHER, "outputs", [small, big])
                await within(store.get(OTHER, [at(small, tmp_path / "out")]))
                # What is held need not travel; but it becomes no program either.
                await within(store.put(JOB, [small, held]))
                with pytest.raises(StoreFull, match="reserve"):
                    await within(store.commit(JOB, "program", manifest_of(small=small)))
            await committed(store, JOB, "program", [small])
            assert not (await within(store.status())).full


#: Local files of F-14: their names and sizes.
SIZES = {"small": 1000, "big": 3 * MIB, "held": 10}


def _made(folder: Path, names: str) -> str:
    folder.mkdir()
    return names
