"""F-20 … F-32: trees, and blobs on their way out."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from discomputify_core.errors import BlobDamaged, BlobMissing, DiskError, NoSuchTree, Unreachable
from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.files import Digest, Entry, Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_testkit.confs import make_conf
from discomputify_testkit.loopback import UnreachableCaller
from discomputify_testkit.running import async_test
from discomputify_testkit.store.base import (
    JOB,
    OTHER,
    StoreSuite,
    at,
    blob_of,
    committed,
    lacks,
    manifest_of,
    within,
)


class Trees(StoreSuite):
    """Clauses about commit, manifest and get."""

    @async_test
    async def test_f_20_a_committed_tree_is_found_by_its_digest(self, tmp_path: Path) -> None:
        """F-20."""
        async with self.make_store(tmp_path / "store") as store:
            one, empty = blob_of(store, tmp_path / "one", b"one"), blob_of(store, tmp_path / "empty", b"")
            await within(store.put(JOB, [one, empty]))
            manifest = Manifest(
                [
                    Entry("main.py", one.size, one.digest, executable=True),
                    Entry("deep/er/ünïcode \U0001f642.txt", one.size, one.digest),
                    Entry("deep/empty file", 0, empty.digest),
                    Entry("empty folder", folder=True),
                ]
            )
            digest = await within(store.commit(JOB, "program", manifest))
            assert await within(store.manifest(JOB, digest)) == manifest

    @async_test
    async def test_f_21_an_empty_tree_is_a_tree(self, tmp_path: Path) -> None:
        """F-21."""
        async with self.make_store(tmp_path / "store") as store:
            digest = await within(store.commit(JOB, "program", Manifest([])))
            assert await within(store.manifest(JOB, digest)) == Manifest([])

    @async_test
    async def test_f_22_equal_manifests_have_equal_digests(self, tmp_path: Path) -> None:
        """F-22."""
        async with self.make_store(tmp_path / "store") as store:
            one, two = blob_of(store, tmp_path / "one", b"one"), blob_of(store, tmp_path / "two", b"two")
            first = await committed(store, JOB, "program", [one, two])
            assert await committed(store, JOB, "again", [two, one]) == first
            assert await committed(store, OTHER, "program", [one, two]) == first
            assert await committed(store, JOB, "other", [one]) != first
            executable = Manifest(
                [attrs.evolve(entry, executable=True) for entry in manifest_of(one=one, two=two).files]
            )
            assert await within(store.commit(JOB, "other", executable)) != first

    @async_test
    async def test_f_23_a_commit_that_lacks_blobs_names_them_and_does_nothing(self, tmp_path: Path) -> None:
        """F-23."""
        async with self.make_store(tmp_path / "store") as store:
            one, two, three = (blob_of(store, tmp_path / name, name.encode()) for name in ("one", "two", "three"))
            before = await committed(store, JOB, "program", [one])
            with pytest.raises(BlobMissing) as caught:
                await within(store.commit(JOB, "program", manifest_of(one=one, two=two, three=three)))
            assert set(caught.value.fields["digests"]) == {two.digest, three.digest}
            assert await within(store.manifest(JOB, before)) == manifest_of(one=one)
            await within(store.put(JOB, [two, three]))
            after = await within(store.commit(JOB, "program", manifest_of(one=one, two=two, three=three)))
            assert (await within(store.manifest(JOB, after))).size == 11

    @async_test
    async def test_f_24_a_commit_with_a_wrong_size_lacks_that_blob(self, tmp_path: Path) -> None:
        """F-24."""
        async with self.make_store(tmp_path / "store") as store:
            one = blob_of(store, tmp_path / "one", b"one")
            await within(store.put(JOB, [one]))
            with pytest.raises(BlobMissing) as caught:
                await within(store.commit(JOB, "program", Manifest([Entry("one", 4, one.digest)])))
            assert set(caught.value.fields["digests"]) == {one.digest}

    @async_test
    async def test_f_25_a_commit_replaces_the_tree_of_that_name_only(self, tmp_path: Path) -> None:
        """F-25."""
        async with self.make_store(tmp_path / "store") as store:
            one, two = blob_of(store, tmp_path / "one", b"one"), blob_of(store, tmp_path / "two", b"two")
            old = await committed(store, JOB, "program", [one])
            beside = await committed(store, JOB, "outputs.1.1", [one, two])
            elsewhere = await committed(store, OTHER, "program", [one])
            new = await committed(store, JOB, "program", [two])
            assert await within(store.manifest(JOB, new)) == manifest_of(two=two)
            assert await within(store.manifest(JOB, beside)) == manifest_of(one=one, two=two)
            assert await within(store.manifest(OTHER, elsewhere)) == manifest_of(one=one)
            with pytest.raises(NoSuchTree):
                await within(store.manifest(JOB, old))

    @async_test
    async def test_f_26_a_manifest_belongs_to_its_job(self, tmp_path: Path) -> None:
        """F-26."""
        async with self.make_store(tmp_path / "store") as store:
            one = blob_of(store, tmp_path / "one", b"one")
            digest = await committed(store, JOB, "program", [one])
            for job, unknown in ((OTHER, digest), (ProcessId("never_seen"), digest), (JOB, one.digest)):
                with pytest.raises(NoSuchTree):
                    await within(store.manifest(job, unknown))

    @async_test
    async def test_f_32_a_tree_is_found_by_its_name(self, tmp_path: Path) -> None:
        """F-32."""
        async with self.make_store(tmp_path / "store") as store:
            one, two = blob_of(store, tmp_path / "one", b"one"), blob_of(store, tmp_path / "two", b"two")
            first = await committed(store, JOB, "upload", [one])
            assert await within(store.find(JOB, "upload")) == first
            second = await committed(store, JOB, "upload", [two])
            assert await within(store.find(JOB, "upload")) == second
            for job, tree in ((JOB, "uploa"), (OTHER, "upload")):
                with pytest.raises(NoSuchTree):
                    await within(store.find(job, tree))

    @async_test
    async def test_f_27_a_fetched_file_is_replaced_whole(self, tmp_path: Path) -> None:
        """F-27."""
        async with self.make_store(tmp_path / "store") as store:
            one = blob_of(store, tmp_path / "in" / "one", b"one")
            await committed(store, JOB, "program", [one])
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "one").write_bytes(b"something longer that was there before")
            await within(store.get(JOB, [at(one, tmp_path / "out" / "one")]))
            assert (tmp_path / "out" / "one").read_bytes() == b"one"
            assert [path.name for path in (tmp_path / "out").iterdir()] == ["one"]
            await within(store.get(JOB, []))

    @async_test
    async def test_f_28_a_blob_that_is_not_held_leaves_no_file(self, tmp_path: Path) -> None:
        """F-28."""
        async with self.make_store(tmp_path / "store") as store:
            one, two = blob_of(store, tmp_path / "in" / "one", b"one"), blob_of(store, tmp_path / "in" / "two", b"two")
            await committed(store, JOB, "program", [one])
            (tmp_path / "out").mkdir()
            with pytest.raises(BlobMissing) as caught:
                await within(store.get(JOB, [at(two, tmp_path / "out" / "two")]))
            assert caught.value.fields["digests"] == [two.digest]
            assert list((tmp_path / "out").iterdir()) == []

    @pytest.mark.parametrize("size", [10, 3_000_000])
    @async_test
    async def test_f_29_damage_in_the_store_is_noticed(self, tmp_path: Path, size: int) -> None:
        """F-29."""
        self.need("can_be_damaged")
        async with self.make_store(tmp_path / "store") as store:
            blob = blob_of(store, tmp_path / "in" / "blob", b"x" * size)
            digest = await committed(store, JOB, "program", [blob])
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "blob").write_bytes(b"before")
            await self.damage(store, blob.digest)
            with pytest.raises(BlobDamaged) as caught:
                await within(store.get(JOB, [at(blob, tmp_path / "out" / "blob")]))
            assert caught.value.fields["digest"] == blob.digest
            assert (tmp_path / "out" / "blob").read_bytes() == b"before"
            assert len(list((tmp_path / "out").iterdir())) == 1
            await self.damage(store, digest)
            with pytest.raises(BlobDamaged):
                await within(store.manifest(JOB, digest))

    @async_test
    async def test_f_30_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        """F-30."""
        async with self.make_store(tmp_path / "store") as store:
            one = blob_of(store, tmp_path / "in" / "one", b"one")
            await committed(store, JOB, "program", [one])
            folder = tmp_path / "out" / "one"
            (folder / "full").mkdir(parents=True)
            with pytest.raises(DiskError) as caught:
                await within(store.get(JOB, [at(one, folder)]))
            assert str(folder) in caught.value.fields["path"]
            assert [path.name for path in (tmp_path / "out").iterdir()] == ["one"]

    @async_test
    async def test_f_31_a_store_that_is_not_there_is_unreachable(self, tmp_path: Path) -> None:
        """F-31."""
        self.need("over_calls")
        async with self.make_store(tmp_path / "store") as there:
            one = blob_of(there, tmp_path / "one", b"one")
            nobody = UnreachableCaller()
            kind = type(there).options
            store: FileStore = type(there)(make_conf(), kind() if kind else None, nobody, nobody)
            for asking in (
                store.missing(JOB, [(one.digest, one.size)]),
                store.put(JOB, [one]),
                store.commit(JOB, "program", manifest_of(one=one)),
                store.manifest(JOB, Digest(one.digest)),
                store.get(JOB, [at(one, tmp_path / "out")]),
                store.clear(JOB),
                store.status(),
            ):
                with pytest.raises(Unreachable):
                    await within(asking)
            assert not (tmp_path / "out").exists()
            assert await lacks(there, one) == [one.digest]

    @pytest.mark.parametrize("size", [10, 3_000_000])
    @async_test
    async def test_f_33_a_damaged_blob_is_missing_and_whoever_has_it_mends_it(self, tmp_path: Path, size: int) -> None:
        """F-33."""
        self.need("can_be_damaged", "mends")
        async with self.make_store(tmp_path / "store") as store:
            blob, other = (
                blob_of(store, tmp_path / "in" / "blob", b"x" * size),
                blob_of(store, tmp_path / "o", b"other"),
            )
            digest = await committed(store, JOB, "program", [blob, other])
            out = at(blob, tmp_path / "out")
            await self.damage(store, blob.digest)
            with pytest.raises(BlobDamaged):
                await within(store.get(JOB, [out]))
            with pytest.raises(BlobMissing) as caught:
                await within(store.get(JOB, [out]))
            assert caught.value.fields["digests"] == [blob.digest]
            assert await lacks(store, blob, other) == [blob.digest]
            await within(store.put(OTHER, [blob]))
            await within(store.get(JOB, [out]))
            assert out.path.read_bytes() == b"x" * size
            # A manifest comes again with its tree.
            await self.damage(store, digest)
            with pytest.raises(BlobDamaged):
                await within(store.manifest(JOB, digest))
            assert await committed(store, JOB, "program", [blob, other]) == digest
            assert await within(store.manifest(JOB, digest)) == manifest_of(blob=blob, o=other)

    @async_test
    async def test_f_34_a_store_says_which_blobs_it_wants_again(self, tmp_path: Path) -> None:
        """F-34."""
        self.need("can_be_damaged", "mends")
        async with self.make_store(tmp_path / "store") as store:
            one, two = (blob_of(store, tmp_path / "in" / name, name.encode() * 500_000) for name in ("one", "two"))
            await committed(store, JOB, "program", [one])
            await committed(store, OTHER, "program", [two])
            assert list(await within(store.wanted())) == []
            for job, blob in ((JOB, one), (OTHER, two)):
                await self.damage(store, blob.digest)
                with pytest.raises(BlobDamaged):
                    await within(store.get(job, [at(blob, tmp_path / "out")]))
            assert sorted(await within(store.wanted())) == sorted([one.digest, two.digest])
            await within(store.put(JOB, [one]))
            assert list(await within(store.wanted())) == [two.digest]
            await within(store.clear(OTHER))
            assert list(await within(store.wanted())) == []
