"""F-40 … F-49: what goes with a job and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from discomputify_core.errors import NoSuchTree
from discomputify_core.model.ids import ProcessId
from discomputify_testkit.running import async_test
from discomputify_testkit.store.base import JOB, OTHER, StoreSuite, at, blob_of, committed, lacks, manifest_of, within

#: Asks whether something is held without being a job that needs it.
ASKING = ProcessId("job_three")


class Clearing(StoreSuite):
    """Clauses about clear and status."""

    @async_test
    async def test_f_40_clear_removes_the_trees_and_blobs_of_a_job(self, tmp_path: Path) -> None:
        """F-40."""
        async with self.make_store(tmp_path / "store") as store:
            one, two = blob_of(store, tmp_path / "one", b"one"), blob_of(store, tmp_path / "two", b"two" * 1000_000)
            trees = [await committed(store, JOB, "program", [one, two]), await committed(store, JOB, "outputs", [one])]
            await within(store.clear(JOB))
            for tree in trees:
                with pytest.raises(NoSuchTree):
                    await within(store.manifest(JOB, tree))
            assert await lacks(store, one, two, job=ASKING) == [one.digest, two.digest]

    @async_test
    async def test_f_41_clear_of_a_job_that_is_not_there_is_no_error(self, tmp_path: Path) -> None:
        """F-41."""
        async with self.make_store(tmp_path / "store") as store:
            await within(store.clear(JOB))
            await committed(store, JOB, "program", [blob_of(store, tmp_path / "one", b"one")])
            await within(store.clear(JOB))
            await within(store.clear(JOB))

    @async_test
    async def test_f_42_shared_blobs_stay_until_the_last_job_is_cleared(self, tmp_path: Path) -> None:
        """F-42."""
        async with self.make_store(tmp_path / "store") as store:
            shared, own = blob_of(store, tmp_path / "shared", b"shared"), blob_of(store, tmp_path / "own", b"own")
            await committed(store, JOB, "program", [shared, own])
            tree = await committed(store, OTHER, "program", [shared])
            await within(store.clear(JOB))
            assert await within(store.manifest(OTHER, tree)) == manifest_of(shared=shared)
            await within(store.get(OTHER, [at(shared, tmp_path / "out")]))
            assert (tmp_path / "out").read_bytes() == b"shared"
            assert await lacks(store, own, job=ASKING) == [own.digest]
            await within(store.clear(OTHER))
            await within(store.clear(ASKING))
            assert await lacks(store, shared, job=ASKING) == [shared.digest]

    @async_test
    async def test_f_43_what_a_job_was_told_is_held_stays_for_its_commit(self, tmp_path: Path) -> None:
        """F-43."""
        async with self.make_store(tmp_path / "store") as store:
            one = blob_of(store, tmp_path / "one", b"one")
            await committed(store, JOB, "program", [one])
            assert await lacks(store, one, job=OTHER) == []
            await within(store.clear(JOB))
            tree = await within(store.commit(OTHER, "program", manifest_of(one=one)))
            assert await within(store.manifest(OTHER, tree)) == manifest_of(one=one)

    @async_test
    async def test_f_44_what_was_sent_stays_for_a_commit_while_others_are_cleared(self, tmp_path: Path) -> None:
        """F-44."""
        async with self.make_store(tmp_path / "store") as store:
            one, two = blob_of(store, tmp_path / "one", b"one"), blob_of(store, tmp_path / "two", b"two")
            await committed(store, OTHER, "program", [one])
            await within(store.put(JOB, [one, two]))
            await within(store.clear(OTHER))
            tree = await within(store.commit(JOB, "program", manifest_of(one=one, two=two)))
            assert await within(store.manifest(JOB, tree)) == manifest_of(one=one, two=two)

    @async_test
    async def test_f_45_a_cleared_job_can_be_sent_again(self, tmp_path: Path) -> None:
        """F-45."""
        async with self.make_store(tmp_path / "store") as store:
            one = blob_of(store, tmp_path / "one", b"one")
            first = await committed(store, JOB, "program", [one])
            await within(store.clear(JOB))
            assert await committed(store, JOB, "program", [one]) == first
            assert await within(store.manifest(JOB, first)) == manifest_of(one=one)

    @async_test
    async def test_f_46_a_store_says_what_it_is(self, tmp_path: Path) -> None:
        """F-46."""
        async with self.make_store(tmp_path / "store") as store:
            empty = await within(store.status())
            blobs = [blob_of(store, tmp_path / name, name.encode()) for name in ("one", "two", "three")]
            await within(store.put(JOB, blobs))
            status = await within(store.status())
            assert status.blobs == empty.blobs + 3
            assert 0 < status.free <= status.total
            assert status.version
            assert status.place

    @async_test
    async def test_f_47_outputs_of_one_job_become_inputs_of_another(self, tmp_path: Path) -> None:
        """F-47."""
        async with self.make_store(tmp_path / "store") as store:
            one, two = blob_of(store, tmp_path / "one", b"one"), blob_of(store, tmp_path / "two", b"two")
            await committed(store, JOB, "outputs", [one])
            await committed(store, OTHER, "program", [two])
            both = manifest_of(one=one, two=two)
            tree = await within(store.commit(OTHER, "gathered", both))
            await within(store.clear(JOB))
            assert await within(store.manifest(OTHER, tree)) == both
            await within(store.get(OTHER, [at(one, tmp_path / "out")]))
            assert (tmp_path / "out").read_bytes() == b"one"

    @async_test
    async def test_f_48_single_trees_can_be_dropped(self, tmp_path: Path) -> None:
        """F-48."""
        self.need("drops")
        async with self.make_store(tmp_path / "store") as store:
            one, two = blob_of(store, tmp_path / "one", b"one"), blob_of(store, tmp_path / "two", b"two" * 1000)
            kept = await committed(store, JOB, "program", [one])
            gone = await committed(store, JOB, "outputs", [one, two])
            theirs = await committed(store, OTHER, "outputs", [one])
            assert await within(store.drop(JOB, ["outputs", "nothing"]))
            await within(store.drop(JOB, ["outputs"]))
            await within(store.drop(ASKING, ["outputs"]))
            with pytest.raises(NoSuchTree):
                await within(store.manifest(JOB, gone))
            assert await within(store.manifest(JOB, kept)) == manifest_of(one=one)
            assert await within(store.manifest(OTHER, theirs)) == manifest_of(one=one)
            await within(store.get(JOB, [at(one, tmp_path / "out")]))
            await within(store.clear(JOB))
            assert await lacks(store, two, job=ASKING) == [two.digest]

    @async_test
    async def test_f_49_a_store_counts_what_a_job_uses(self, tmp_path: Path) -> None:
        """F-49."""
        self.need("counts")
        async with self.make_store(tmp_path / "store") as store:
            one, two = blob_of(store, tmp_path / "one", b"one"), blob_of(store, tmp_path / "two", b"two" * 1000)
            assert await within(store.usage(JOB)) == 0
            await committed(store, JOB, "program", [one])
            assert await within(store.usage(JOB)) == one.size
            await committed(store, JOB, "outputs", [one, two])
            await committed(store, OTHER, "program", [two])
            assert await within(store.usage(JOB)) == one.size + two.size
            await committed(store, JOB, "outputs", [one])
            assert await within(store.usage(JOB)) == one.size
            await within(store.clear(JOB))
            assert (await within(store.usage(JOB)), await within(store.usage(OTHER))) == (0, two.size)
