"""What the store promises about blobs and trees together. Blocking: runs in threads.

Whoever calls :meth:`Keeper.commit`, :meth:`Keeper.clear`, :meth:`Keeper.count_uses`, :meth:`Keeper.find`,
:meth:`Keeper.manifest_size`, :meth:`Keeper.remove`, :meth:`Keeper.shown`, :meth:`Keeper.shown_of`,
:meth:`Keeper.all_shown` or :meth:`Keeper.trees` lets no two of them run at once; everything else may run at any time.

A sender that may use the store's reserve (*reserve*) brings what has been computed; any other uploads a program.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from discomputify_core.errors import BadInput, BadPath, BlobDamaged, BlobMissing, NoSuchTree, PeerBroke
from discomputify_core.interfaces.files import SHOWN, StoreStatus
from discomputify_core.model.files import Digest, Manifest
from discomputify_core.model.ids import check_process_id
from discomputify_core.model.message import MAX_BODY
from discomputify_ftp import __version__, layout, wire
from discomputify_ftp.blobs import Blobs, missing, wrong_bytes
from discomputify_ftp.chunks import MAX_CHUNK
from discomputify_ftp.hashing import digest_of
from discomputify_ftp.mounts import warning_at
from discomputify_ftp.old_requests import shown_name
from discomputify_ftp.pins import LASTS, Pins
from discomputify_ftp.refs import Ref, Refs
from discomputify_ftp.room import Room

#: Jobs of which it is remembered how much they use.
COUNTED = 200


class Keeper:
    """Keeps blobs that trees or promises need, and removes the others."""

    def __init__(self, blobs: Blobs, room: Room, clock: Callable[[], float] = time.monotonic) -> None:
        self._blobs = blobs
        self._room = room
        #: Job -> the digests of its manifests, and the bytes that these use.
        self._counted: OrderedDict[str, tuple[frozenset[str], int]] = OrderedDict()
        self._pins = Pins(clock)
        self._refs = Refs(blobs.base, blobs)
        self._clock = clock
        self._started = clock()

    def promise(self, process_id: str, digests: Iterable[str], reserve: bool = True) -> None:
        """Keep *digests*, if they are held or come to be, for an hour for a job; a program's while it is uploaded."""
        self._pins.pin(check_process_id(process_id), digests, upload=not reserve)

    def missing(self, about: wire.AboutBlobs, reserve: bool) -> list[int]:
        """Which of the blobs are not held; those that are held have been promised."""
        # First promised, then looked for: see Pins.guarded.
        self.promise(about.process_id, (digest for digest, _ in about.blobs), reserve)
        lacking = []
        for number, (digest, size) in enumerate(about.blobs):
            if self._blobs.has(digest, size):
                self._blobs.touch(digest)
            else:
                lacking.append(number)
        return lacking

    def put(self, about: wire.AboutBlobs, body: memoryview, reserve: bool) -> None:
        """Keep the blobs that *body* holds one after the other.

        Raises:
            BlobDamaged: one of them has another digest; those before it are kept.
            StoreFull: there is no room for them.
            DiskError: they cannot be written.
        """
        self.promise(about.process_id, (digest for digest, _ in about.blobs), reserve)
        self._room.check(len(body), reserve or all(self.mends(digest) for digest, _ in about.blobs))
        start = 0
        for digest, size in about.blobs:
            self._blobs.add(digest, body[start : start + size])
            start += size

    def mends(self, digest: str) -> bool:
        """Whether a blob was lost: it may come back whoever brings it, also below the reserve."""
        return digest in self._blobs.lost

    def receive_manifest(self, about: wire.AboutTree, body: memoryview, reserve: bool = True) -> Manifest:
        """The manifest to be committed, kept as a blob; everything it needs has been promised.

        Raises:
            BlobDamaged, BlobMissing: its bytes are not the right ones, or are not here.
            BadPath: it does not describe a tree.
            StoreFull: there is no room for it.
        """
        layout.tree_file(about.process_id, about.tree)
        self.promise(about.process_id, [about.digest], reserve)
        self._room.check(len(body), reserve or self.mends(about.digest))
        if len(body):
            if len(body) != about.size or digest_of(body) != about.digest:
                raise wrong_bytes(about.digest, digest_of(body))
            manifest = wire.unpack(body, about.digest)
            self._blobs.add(about.digest, body)
        else:
            manifest = wire.unpack(self._blobs.read_verified(about.digest, about.size), about.digest)
        self.promise(about.process_id, (entry.digest for entry in manifest.files), reserve)
        return manifest

    def commit(self, about: wire.AboutTree, manifest: Manifest) -> None:
        """Make *manifest* a tree of the job.

        Raises:
            BlobMissing: some of its blobs are not held.
            DiskError: it cannot be written.
        """
        wanted = {entry.digest: entry.size for entry in manifest.files}
        for entry in manifest.files:
            if entry.size != wanted[entry.digest]:
                raise BadPath(f"{entry.path!r}: one digest is listed with two sizes.", path=entry.path)
        lacking = [digest for digest, size in wanted.items() if not self._blobs.has(digest, size)]
        if not self._blobs.has(about.digest, about.size):
            lacking.append(about.digest)
        if lacking:
            raise missing(lacking)
        freed = self._refs.put(about.process_id, Ref(about.tree, Digest(about.digest), about.size), manifest)
        self._remove(freed)

    def clear(self, process_id: str) -> int:
        """Remove all trees of a job and the blobs that nobody else needs; returns how many those were."""
        freed = self._refs.clear(check_process_id(process_id))
        # What it brought for a tree that never came to be goes too.
        promised = self._pins.drop(process_id)
        if promised:
            self._refs.count_uses()
        return self._remove({*freed, *filter(self._refs.unused, promised)})

    def remove(self, process_id: str, tree: str) -> bool:
        """Remove a tree of a job and the blobs that nobody else needs; returns whether it was there."""
        freed = self._refs.remove(check_process_id(process_id), tree)
        if freed is None:
            return False
        self._remove(freed)
        return True

    def shown(self, name: str) -> Ref | None:
        """The tree that old clients see as the top folder *name*."""
        about = shown_name(name)
        with suppress(BadInput):
            return self._refs.trees(about.process_id).get(SHOWN + name) if about else None
        return None

    def shown_of(self, process_id: str) -> dict[str, Ref]:
        """The trees of a job that old clients see, by the names that they see, by part; nothing if the id is none."""
        try:
            trees = self._refs.trees(process_id)
        except BadInput:
            return {}
        named = ((tree.removeprefix(SHOWN), ref) for tree, ref in trees.items() if tree.startswith(SHOWN))
        known = ((about, name, ref) for name, ref in named if (about := shown_name(name)))
        mine = sorted((each for each in known if each[0].process_id == process_id), key=lambda each: each[0])
        return {name: ref for _, name, ref in mine}

    def all_shown(self) -> dict[str, Ref]:
        """The trees of all jobs that old clients see, by the names that they see."""
        found = {}
        for folder, ref in self._refs.every():
            about = shown_name(ref.tree.removeprefix(SHOWN)) if ref.tree.startswith(SHOWN) else None
            # A tree may be given any name: only its own job's outputs are shown.
            with suppress(BadInput):
                if about and layout.job_folder(about.process_id) == folder:
                    found[ref.tree.removeprefix(SHOWN)] = ref
        return found

    def unpacked(self, ref: Ref) -> Manifest:
        """The manifest of a tree.

        Raises:
            BlobDamaged, BlobMissing: it is damaged or gone.
        """
        return wire.unpack(self._blobs.read_verified(ref.digest, ref.size), ref.digest)

    def find(self, about: wire.AboutTree) -> Digest:
        """The digest of the packed manifest of a job's tree, by the tree's name.

        Raises:
            NoSuchTree: the job has no tree of that name.
        """
        ref = self._refs.trees(check_process_id(about.process_id)).get(about.tree)
        if ref is None:
            raise NoSuchTree(
                f"The store has no tree '{about.tree[:80]}' of {about.process_id}.",
                process_id=about.process_id,
                tree=about.tree[:80],
            )
        return ref.digest

    def manifest_size(self, about: wire.AboutTree) -> int:
        """How long the packed manifest of a job's tree is.

        Raises:
            NoSuchTree: the job has no tree of that digest.
        """
        size = self._refs.size_of(about.process_id, about.digest)
        if size is None:
            raise NoSuchTree(
                f"The store has no tree {about.digest[:80]} of {about.process_id}.",
                process_id=about.process_id,
                digest=about.digest[:80],
            )
        return size

    def manifest(self, digest: str, size: int) -> bytes:
        """The packed manifest if it fits into one answer, else nothing: it can be read in chunks then.

        Raises:
            BlobDamaged: it is damaged or gone.
        """
        if size > MAX_CHUNK:
            return b""
        if not self._blobs.has(digest, size):
            raise BlobDamaged(f"The manifest {digest} is lost in the store.", digest=digest)
        return self._blobs.read_verified(digest, size)

    def fetch(self, about: wire.AboutBlobs) -> bytes:
        """The bytes of small blobs, one after the other.

        Raises:
            BlobMissing: some are not held.
        """
        if sum(max(size, 0) for _, size in about.blobs) > MAX_BODY:
            raise PeerBroke("More was asked for than fits into one message.", clause=wire.FETCH)
        lacking = [digest for digest, size in about.blobs if not self._blobs.has(digest, size)]
        if lacking:
            raise self._lost(lacking)
        return b"".join(self._blobs.read_whole(digest, size) for digest, size in about.blobs)

    def read(self, about: wire.AboutChunk) -> bytes:
        """A chunk of a blob.

        Raises:
            BlobMissing: no blob of that digest and size is held.
            PeerBroke: it asks for more than there can be.
        """
        if about.length > MAX_BODY:
            raise PeerBroke("More was asked for than fits into one message.", clause=wire.READ)
        if about.offset > about.size:
            raise PeerBroke("Bytes were asked for that lie behind the end of their blob.", clause=wire.READ)
        if not self._blobs.has(about.digest, about.size):
            raise self._lost([about.digest])
        return self._blobs.read(about.digest, about.offset, about.length)

    def _lost(self, digests: list[str]) -> BlobMissing:
        """The error for blobs that were asked for and are not held; where trees need them, they are lost."""
        self._blobs.lost.add(digest for digest in digests if not self._refs.unused(digest))
        return missing(digests)

    def wanted(self) -> list[Digest]:
        """Blobs that trees need and that are lost."""
        found = []
        for digest in self._blobs.lost.all():
            if self._blobs.path(digest).exists() or self._refs.unused(digest):
                self._blobs.lost.discard(digest)
            else:
                found.append(Digest(digest))
        return found

    def trees(self, process_id: str) -> list[Ref]:
        """All trees of a job."""
        return list(self._refs.trees(check_process_id(process_id)).values())

    def usage(self, process_id: str, trees: Sequence[Ref]) -> int:
        """Bytes of the blobs that these, all :meth:`trees` of the job, use; manifests that are lost do not count."""
        manifests = frozenset(ref.digest for ref in trees)
        known = self._counted.get(process_id)
        if known is not None and known[0] == manifests:
            return known[1]
        sizes: dict[str, int] = {}
        counted = set()
        for ref in {ref.digest: ref for ref in trees}.values():
            with suppress(BlobMissing, BlobDamaged, BadPath):
                sizes.update((entry.digest, entry.size) for entry in self.unpacked(ref).files)
                counted.add(ref.digest)
        total = sum(sizes.values())
        self._counted[process_id] = (frozenset(counted), total)
        while len(self._counted) > COUNTED:
            self._counted.popitem(last=False)
        return total

    def count_uses(self) -> None:
        """Read all trees, so that :meth:`sweep` knows what is in use."""
        self._refs.count_uses()

    def sweep_rubbish(self) -> list[Path]:
        """Remove what nobody continues or looks at any more; returns the folders to :meth:`sweep` now."""
        self._pins.forget_old()
        if not self._just_started():
            self._blobs.fresh = None
        self._blobs.sweep_incoming()
        self._blobs.sweep_aside()
        return self._blobs.folders()

    def sweep(self, folder: Path) -> int:
        """Remove blobs in *folder* that no tree uses and that are older than any promise (uploads that never ended)."""
        old = (
            digest
            for digest in self._blobs.inside(folder)
            if self._refs.unused(digest) and self._blobs.age(digest) > LASTS
        )
        return sum(self._pins.guarded(digest, partial(self._remove_unused, digest)) for digest in old)

    def status(self) -> StoreStatus:
        """What the store says of itself.

        Raises:
            DiskError: its folder is gone.
        """
        base = self._blobs.base
        free, total = self._room.disk()
        return StoreStatus(
            __version__, str(base), free, total, self._blobs.count, warning_at(base), full=self._room.full()
        )

    def _remove(self, freed: Iterable[str]) -> int:
        return sum(self._pins.guarded(digest, partial(self._remove_free, digest)) for digest in freed)

    def _remove_free(self, digest: str) -> bool:
        fresh = self._blobs.fresh
        if fresh is not None and digest not in fresh and self._just_started() and self._blobs.age(digest) < LASTS:
            return False  # it may have been promised to another job before this service started; sweep() looks again
        return self._blobs.remove(digest)

    def _just_started(self) -> bool:
        return self._clock() - self._started < LASTS

    def _remove_unused(self, digest: str) -> bool:
        return self._refs.unused(digest) and self._blobs.remove(digest)
