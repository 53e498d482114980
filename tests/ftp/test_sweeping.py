"""Whatever happens in which order: nothing that a tree or a promise needs is removed, and in the end all room is back.

The store's own rules (keeper.py) against the simplest model of them, with real files and a clock that the test moves.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from discomputify_core.errors import BlobDamaged, BlobMissing
from discomputify_core.model.files import Digest, Entry, Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_ftp import wire
from discomputify_ftp.blobs import Blobs
from discomputify_ftp.hashing import digest_of
from discomputify_ftp.keeper import Keeper
from discomputify_ftp.pins import LASTS
from discomputify_ftp.room import Room

DATA = {digest_of(data): data for data in (b"1", b"22")}
some = st.sets(st.sampled_from(sorted(DATA)), min_size=1)
jobs = st.sampled_from(["a", "b"])
names = st.sampled_from(["x", "y"])


@attrs.define
class Promise:
    """When a promise ends; what a restart leaves of it is known by the blob's age."""

    ends: float
    #: When the blob was last touched on disk.
    touched: float


class Sweeping(RuleBasedStateMachine):
    """The store and its model."""

    @initialize()
    def begin(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="sweeping-"))
        self.now = 0.0
        #: (job, name) -> the digest of the manifest; manifests -> what they need.
        self.trees: dict[tuple[str, str], Digest] = {}
        self.needs: dict[Digest, set[Digest]] = {}
        self.promised: dict[str, dict[Digest, Promise]] = {}
        self.uploading: dict[str, set[Digest]] = {}
        #: What the test itself has destroyed.
        self.spoilt: set[Digest] = set()
        self.start()

    def start(self) -> None:
        """A service that knows what is on the disk."""
        self.blobs = Blobs(self.base)
        self.blobs.open()
        self.keeper = Keeper(self.blobs, Room(self.base, 0), lambda: self.now)

    def teardown(self) -> None:
        if hasattr(self, "base"):
            self.all_room_comes_back()
            shutil.rmtree(self.base)

    # --- what the model says ----------------------------------------------------------------------

    def promise(self, job: str, digests: set[Digest], reserve: bool) -> None:
        ends = self.now + LASTS
        mine = self.promised.setdefault(job, {})
        for digest in digests:
            mine[digest] = Promise(ends, self.now)
        if not reserve:
            for digest in self.uploading.setdefault(job, set()) | digests:
                if digest in mine and mine[digest].ends > self.now:
                    mine[digest].ends = ends
            self.uploading[job] |= digests

    def needed(self) -> set[Digest]:
        """Blobs that must be there."""
        found = {d for mine in self.promised.values() for d, promise in mine.items() if promise.ends > self.now}
        for manifest in self.trees.values():
            if manifest not in self.spoilt:
                found |= {manifest, *self.needs[manifest]}
        return found - self.spoilt

    # --- what happens -----------------------------------------------------------------------------

    @rule(job=jobs, digests=some, reserve=st.booleans())
    def put(self, job: str, digests: set[Digest], reserve: bool) -> None:
        about = wire.AboutBlobs(ProcessId(job), tuple((digest, len(DATA[digest])) for digest in sorted(digests)))
        lacking = {about.blobs[number][0] for number in self.keeper.missing(about, reserve)}
        assert lacking.isdisjoint(self.needed())
        sent = tuple(row for row in about.blobs if row[0] in lacking)
        body = b"".join(DATA[Digest(digest)] for digest, _ in sent)
        self.keeper.put(wire.AboutBlobs(ProcessId(job), sent), memoryview(body), reserve)
        self.spoilt -= digests
        self.promise(job, digests, reserve)

    @rule(job=jobs, digests=some, reserve=st.booleans())
    def keep(self, job: str, digests: set[Digest], reserve: bool) -> None:
        """The usual way of a tree into the store."""
        self.put(job, digests, reserve)
        self.commit(job, "x", digests, reserve)

    @rule(job=jobs, name=names, digests=some, reserve=st.booleans())
    def commit(self, job: str, name: str, digests: set[Digest], reserve: bool) -> None:
        manifest = Manifest(Entry(f"f{n}", len(DATA[d]), d) for n, d in enumerate(sorted(digests)))
        packed, digest = wire.packed_digest(manifest)
        about = wire.AboutTree(ProcessId(job), name, digest, len(packed))
        ready = self.keeper.receive_manifest(about, memoryview(packed), reserve)
        self.spoilt.discard(digest)
        held = self.needed()
        lacking: set[Digest] = set()
        try:
            self.keeper.commit(about, ready)
        except BlobMissing as error:
            lacking |= set(error.fields["digests"])
        assert held.isdisjoint(lacking)
        self.promise(job, {digest}, reserve)
        if not lacking:
            self.needs[digest] = digests
            self.trees[job, name] = digest

    @rule(job=jobs, name=names)
    def drop(self, job: str, name: str) -> None:
        assert self.keeper.remove(job, name) == ((job, name) in self.trees)
        self.trees.pop((job, name), None)

    @rule(job=jobs)
    def clear(self, job: str) -> None:
        for known in (self.promised, self.uploading):
            known.pop(job, None)
        for name in ("x", "y"):
            self.trees.pop((job, name), None)
        self.keeper.clear(job)

    def tidy(self) -> None:
        self.keeper.count_uses()
        for folder in self.keeper.sweep_rubbish():
            self.keeper.sweep(folder)

    @rule(share=st.sampled_from([0.6, 1.1]), tidy=st.booleans())
    def time_passes(self, share: float, tidy: bool) -> None:
        seconds = share * LASTS
        self.now += seconds
        for path in (self.base / "blobs").rglob("*"):
            if path.is_file():
                at = path.stat().st_mtime - seconds
                os.utime(path, (at, at))
        if tidy:
            self.tidy()

    @rule()
    def restart(self) -> None:
        self.uploading.clear()
        for mine in self.promised.values():
            for promise in mine.values():
                promise.ends = min(promise.ends, promise.touched + LASTS)
        self.start()

    @precondition(lambda self: self.trees)
    @rule(number=st.integers(0, 3), blob=st.booleans(), whole=st.booleans(), noticed=st.booleans())
    def damage(self, number: int, blob: bool, whole: bool, noticed: bool) -> None:
        """A manifest, or a blob, of some tree loses its bytes, or is gone *whole*; somebody *noticed*, or nobody."""
        digest = sorted(self.trees.values())[number % len(self.trees)]
        if blob:
            digest = sorted(self.needs[digest])[0]
        path = self.blobs.path(digest)
        if not path.exists():
            return
        if whole:
            path.unlink()
        else:
            path.chmod(0o600)
            path.write_bytes(b"what nobody wrote here")
        self.spoilt.add(digest)
        if noticed:
            with contextlib.suppress(BlobMissing, BlobDamaged):
                self.blobs.read_verified(digest, len(DATA.get(digest, b"")))

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def nothing_needed_is_gone(self) -> None:
        if not hasattr(self, "base"):
            return
        for digest in self.needed():
            path = self.blobs.path(digest)
            if digest in DATA:
                assert path.exists()
                assert path.read_bytes() == DATA[digest]
            elif digest in self.trees.values():
                assert digest_of(path.read_bytes()) == digest

    def all_room_comes_back(self) -> None:
        """Every job is cleared, time passes, it is tidied up: nothing is left."""
        for job in ("a", "b"):
            self.keeper.clear(job)
        self.time_passes(1.1, tidy=True)
        left = [path for folder in ("blobs", "jobs", "incoming") for path in (self.base / folder).rglob("*")]
        assert [path for path in left if path.is_file()] == []
        assert list((self.base / "jobs").iterdir()) == []
        assert self.keeper.wanted() == []


Sweeping.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestSweeping = Sweeping.TestCase
