"""F-50 … F-52: who is sent to whom for a blob that many nodes need."""

from __future__ import annotations

from pathlib import Path

from discomputify_core.interfaces.files import Source
from discomputify_testkit.running import async_test
from discomputify_testkit.store.base import JOB, StoreSuite, blob_of, committed, within

ONE, TWO, THREE = "10.0.0.1:11111", "10.0.0.2:11111", "10.0.0.3:11111"


class Sharing(StoreSuite):
    """Clauses about source and shares."""

    @async_test
    async def test_f_50_who_needs_a_blob_is_sent_somewhere_or_asked_to_come_again(self, tmp_path: Path) -> None:
        """F-50."""
        async with self.make_store(tmp_path / "store") as store, self.node(store) as nodes:
            blob = blob_of(store, tmp_path / "big", b"x" * 100)
            await committed(store, JOB, "program", [blob])
            for number in range(10):
                found = await within(nodes.source(JOB, blob.digest, blob.size, f"10.0.0.{number}:1"))
                assert found.wait > 0 or found == Source()

    @async_test
    async def test_f_51_who_said_that_it_has_a_blob_is_told_to_others(self, tmp_path: Path) -> None:
        """F-51."""
        self.need("shares")
        async with self.make_store(tmp_path / "store") as store, self.node(store) as nodes:
            blob = blob_of(store, tmp_path / "big", b"x" * 100)
            await committed(store, JOB, "program", [blob])
            assert await within(nodes.source(JOB, blob.digest, blob.size, ONE)) == Source()
            assert await within(nodes.shares(JOB, [blob.digest], ONE))
            assert await within(nodes.source(JOB, blob.digest, blob.size, TWO)) == Source(ONE)
            assert await within(nodes.source(JOB, blob.digest, blob.size, ONE)) == Source()

    @async_test
    async def test_f_52_who_does_not_have_it_after_all_is_told_to_nobody(self, tmp_path: Path) -> None:
        """F-52."""
        self.need("shares")
        async with self.make_store(tmp_path / "store") as store, self.node(store) as nodes:
            blob = blob_of(store, tmp_path / "big", b"x" * 100)
            await committed(store, JOB, "program", [blob])
            await within(nodes.shares(JOB, [blob.digest], ONE))
            assert await within(nodes.source(JOB, blob.digest, blob.size, TWO)) == Source(ONE)
            assert await within(nodes.source(JOB, blob.digest, blob.size, TWO, failed=ONE)) == Source()
            assert await within(nodes.source(JOB, blob.digest, blob.size, THREE)) == Source()
