"""What the service promises about trees, promises and damage."""

from __future__ import annotations

import logging
import os
import stat
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from discomputify_core.errors import BadInput, BadPath, BlobDamaged, BlobMissing, DiskError, NoSuchTree, PeerBroke
from discomputify_core.model.files import Entry, Manifest
from discomputify_ftp import pins, wire
from discomputify_ftp.hashing import digest_of
from discomputify_ftp.service import FtpNode
from discomputify_testkit.confs import make_conf
from discomputify_testkit.running import run, until


def test_addresses_are_those_of_the_conf() -> None:
    conf = make_conf(ftp_node="127.0.0.4", ftp_port=1234, query_node="127.0.0.5", query_port=1235)
    assert [str(address) for address in FtpNode(conf).addresses()] == ["127.0.0.4:1234", "127.0.0.5:1235"]


def test_trees_survive_a_restart(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            one = r.blob("one", b"1")
            digests = [await r.keep(one, job=job, tree=tree) for job in ("job", "JOB") for tree in ("program", "Ä/1.x")]
            await r.restart()
            assert await r.store.manifest("JOB", digests[0]) == r.manifest(one)
            assert (await r.store.status()).blobs == 2

    run(main())


def test_a_second_service_on_the_folder_is_refused(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            second = FtpNode(make_conf(ftp_base_path=str(r.base)))
            with pytest.raises(DiskError, match="another ftp_node"):
                await second.open()
            await second.close()
        again = FtpNode(make_conf(ftp_base_path=str(r.base)))
        await again.open()
        await again.close()
        await again.close()

    run(main())


def test_a_base_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")

    async def main() -> None:
        with pytest.raises(DiskError, match="file"):
            await FtpNode(make_conf(ftp_base_path=str(tmp_path / "file"))).open()

    run(main())


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_nobody_else_may_read_the_store_and_nobody_may_write_a_blob(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            blobs = [r.blob("one", b"1"), r.blob("big", os.urandom(600_000))]
            await r.keep(*blobs)
            for blob in blobs:
                assert stat.S_IMODE(r.at(blob).stat().st_mode) & 0o222 == 0
            folders = [r.base, *(path for path in r.base.rglob("*") if path.is_dir())]
            assert all(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in folders)

    run(main())


def test_a_commit_lists_all_that_is_missing_however_much(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            held = r.blob("held", b"held")
            await r.store.put(r.job, [held])
            entries = [Entry(f"f{n}", 1, digest_of(str(n).encode())) for n in range(6000)]
            with pytest.raises(BlobMissing) as caught:
                await r.store.commit(r.job, "program", Manifest([*entries, *r.manifest(held).entries]))
            assert set(caught.value.fields["digests"]) == {entry.digest for entry in entries}
            assert not (r.base / "jobs" / "job").exists()

    run(main())


def test_a_manifest_of_several_messages_goes_in_and_out(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            one = r.blob("one", b"1")
            await r.store.put(r.job, [one])
            big = Manifest(Entry(f"{'folder' * 20}/{n:06}", 1, one.digest) for n in range(30_000))
            assert len(wire.pack(big)) > 4 * 2**20
            digest = await r.store.commit(r.job, "program", big)
            assert await r.store.manifest(r.job, digest) == big

    run(main())


def test_replacing_a_tree_frees_what_only_the_old_one_used(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "LASTS", -1.0)

    async def main() -> None:
        async with rig() as r:
            one, two = r.blob("one", b"1"), r.blob("two", b"2")
            await r.keep(one, two)
            await r.keep(two)
            assert not r.at(one).exists()
            assert r.at(two).exists()
            await r.keep(two, tree="other")
            await r.store.clear(r.job)
            assert (await r.store.status()).blobs == 0

    run(main())


def test_clear_after_a_restart_is_careful_and_tidying_up_finishes_it(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            one = r.blob("one", b"1")
            await r.keep(one)
            await r.restart()
            await r.store.clear(r.job)
            assert r.at(one).exists(), "another job may have been told that it is held, before the restart"
            assert await r.node.tidy() == 0
            long_ago = time.time() - 2 * pins.LASTS
            for path in (r.base / "blobs").rglob("*"):
                os.utime(path, (long_ago, long_ago))
            assert await r.node.tidy() == 2
            assert not r.at(one).exists()

    run(main())


def test_tidying_up_keeps_what_trees_or_promises_need(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            used, promised, lost = (r.blob(name, name.encode()) for name in ("used", "promised", "lost"))
            await r.keep(used, job="other")
            await r.store.put("uploading", [promised, lost])
            await r.restart()  # promises are forgotten
            long_ago = time.time() - 2 * pins.LASTS
            for path in (r.base / "blobs").rglob("*"):
                os.utime(path, (long_ago, long_ago))
            assert await r.store.missing("new", [(promised.digest, promised.size)]) == []
            os.utime(r.at(promised), (long_ago, long_ago))
            assert await r.node.tidy() == 1
            assert [r.at(blob).exists() for blob in (used, promised, lost)] == [True, True, False]

    run(main())


def test_clear_takes_what_was_brought_for_a_tree_that_never_came(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            used, shared, lost = (r.blob(name, name.encode()) for name in ("used", "shared", "lost"))
            await r.keep(used, job="other")
            await r.store.put("uploading", [used, shared, lost])
            assert await r.store.missing("new", [(shared.digest, shared.size)]) == []
            await r.store.clear("uploading")
            assert [r.at(blob).exists() for blob in (used, shared, lost)] == [True, True, False]

    run(main())


def test_old_rubbish_in_incoming_goes_and_young_beginnings_stay(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            incoming = r.base / "incoming"
            for name in ("old.part", "young.part", "crashed.new"):
                (incoming / name).write_bytes(b"x")
            os.utime(incoming / "old.part", (0, 0))
            await r.restart()
            assert [path.name for path in incoming.iterdir()] == ["young.part"]

    run(main())


def spoil(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.mark.parametrize("size", [10, 600_000])
@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_blob_is_noticed_put_aside_and_mended(
    rig: Any, size: int, cut: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with rig() as r:
            blob, good = r.blob("one", os.urandom(size)), r.blob("good", b"good")
            await r.keep(blob, good)
            spoil(r.at(blob), b"" if cut else bytes(size))
            out = [attrs.evolve(each, path=r.local / f"out-{each.path.name}") for each in (blob, good)]
            with caplog.at_level(logging.WARNING), pytest.raises((BlobDamaged, BlobMissing)):
                await r.store.get(r.job, out)
            assert not out[0].path.exists()
            # Another chunk that was under way may be told before the thread that puts the blob aside has said so.
            await until(lambda: blob.digest in caplog.text)
            assert len(list((r.base / "damaged").iterdir())) == 1
            assert await r.store.missing(r.job, [(blob.digest, blob.size)]) == [blob.digest]
            await r.store.put(r.job, [blob])
            await r.store.get(r.job, out)
            assert out[0].path.read_bytes() == blob.path.read_bytes()

    run(main())


def test_a_blob_that_was_damaged_on_the_way_is_fetched_again(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            blobs = [r.blob("one", b"1" * 100), r.blob("big", os.urandom(600_000))]
            await r.keep(*blobs)
            spoilt: set[str] = set()
            plain = r.caller.call

            async def call(operation: str, *args: Any, **kw: Any) -> Any:
                reply = await plain(operation, *args, **kw)
                if operation in (wire.FETCH, wire.READ) and operation not in spoilt:
                    spoilt.add(operation)
                    return attrs.evolve(reply, body=b"\0" * len(reply.body))
                return reply

            r.caller.call = call
            out = [attrs.evolve(each, path=r.local / f"out-{each.path.name}") for each in blobs]
            await r.store.get(r.job, out)
            for blob, copy in zip(blobs, out, strict=True):
                assert copy.path.read_bytes() == blob.path.read_bytes()
            assert len(spoilt) == 2
            assert list((r.base / "damaged").iterdir()) == []

    run(main())


def test_a_damaged_manifest_is_not_believed(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            one = r.blob("one", b"1")
            digest = await r.keep(one)
            path = r.base / "blobs" / "blake3" / digest[7:9] / digest[7:]
            spoil(path, path.read_bytes().replace(b"one", b"two"))
            with pytest.raises(BlobDamaged):
                await r.store.manifest(r.job, digest)
            await r.restart()
            await r.store.clear(r.job)  # a tree that nobody can read does not stop its job from going
            with pytest.raises(NoSuchTree):
                await r.store.manifest(r.job, digest)

    run(main())


def test_a_reference_that_was_cut_short_is_no_tree(rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with rig() as r:
            digest = await r.keep(r.blob("one", b"1"))
            (r.base / "jobs" / "job" / "program").write_bytes(b"\x93\xa7prog")
            await r.restart()
            with pytest.raises(NoSuchTree):
                await r.store.manifest(r.job, digest)
            assert "does not name a manifest" in caplog.text

    run(main())


@pytest.mark.parametrize(
    ("operation", "data", "body", "error"),
    [
        (wire.MISSING, None, b"", PeerBroke),
        (wire.MISSING, {"process_id": "../x", "blobs": []}, b"", BadInput),
        (wire.MISSING, {"process_id": "job", "blobs": [["../x", 1]]}, b"", BadPath),
        (wire.PUT, {"process_id": "job", "blobs": [[digest_of(b"a"), 2]]}, b"a", PeerBroke),
        (wire.PUT, {"process_id": "job", "blobs": [[digest_of(b"a"), -1], [digest_of(b"ab"), 2]]}, b"a", PeerBroke),
        (wire.PUT, {"process_id": "job", "blobs": [[digest_of(b"a"), 1]]}, b"b", BlobDamaged),
        (wire.FAR, {"process_id": "job", "digest": "blake3:zz", "size": 1}, b"", BadPath),
        (wire.APPEND, {"process_id": "job", "digest": digest_of(b"a"), "size": -1}, b"a", PeerBroke),
        (wire.COMMIT, {"process_id": "job", "tree": "", "digest": digest_of(b"x"), "size": 1}, b"x", BadInput),
        (wire.COMMIT, {"process_id": "job", "tree": "t", "digest": digest_of(b"x"), "size": 1}, b"x", BadPath),
        (wire.COMMIT, {"process_id": "job", "tree": "t", "digest": digest_of(b"x"), "size": 1}, b"y", BlobDamaged),
        (wire.COMMIT, {"process_id": "job", "tree": "t", "digest": digest_of(b"x"), "size": 1}, b"", BlobMissing),
        (wire.MANIFEST, {"process_id": "job", "digest": "nonsense"}, b"", NoSuchTree),
        (wire.FETCH, {"process_id": "job", "blobs": [[digest_of(b"x"), 2**30]]}, b"", PeerBroke),
        (wire.READ, {"process_id": "job", "digest": digest_of(b"x"), "size": 1, "length": 2**30}, b"", PeerBroke),
        (wire.CLEAR, {"process_id": "a/b"}, b"", BadInput),
    ],
)
def test_nonsense_is_refused(rig: Any, operation: str, data: Any, body: bytes, error: type[Exception]) -> None:
    async def main() -> None:
        async with rig() as r:
            with pytest.raises(error):
                await r.caller.call(operation, data, body)
            assert (await r.store.status()).blobs == 0

    run(main())


def test_status_says_what_and_where(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            status = await r.store.status()
            assert status.place == str(r.base)
            assert 0 < status.free <= status.total
            assert status.version

    run(main())
