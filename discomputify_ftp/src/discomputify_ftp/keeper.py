"""What the store promises about blobs and trees together. Blocking: runs in threads.

Whoever calls :meth:`Keeper.commit`, :meth:`Keeper.clear`, :meth:`Keeper.count_uses`, :meth:`Keeper.find`,
:meth:`Keeper.manifest_size`, :meth:`Keeper.remove`, :meth:`Keeper.shown`, :meth:`Keeper.shown_of` or
:meth:`Keeper.all_shown` lets no two of them run at once; everything else may run at any time.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from discomputify_core.errors import BadInput, BadPath, BlobDamaged, NoSuchTree, PeerBroke
from discomputify_core.interfaces.files import SHOWN, StoreStatus
from discomputify_core.model.files import Digest, Manifest
from discomputify_core.model.ids import check_process_id
from discomputify_core.model.message import MAX_BODY
from discomputify_ftp import __version__, layout, wire
from discomputify_ftp.blobs import WHOSE, Blobs, missing, wrong_bytes
from discomputify_ftp.chunks import MAX_CHUNK
from discomputify_ftp.disk import disk_error
from discomputify_ftp.hashing import digest_of
from discomputify_ftp.mounts import warning_at
from discomputify_ftp.old_requests import shown_name
from discomputify_ftp.pins import LASTS, Pins
from discomputify_ftp.refs import Ref, Refs


class Keeper:
    """Keeps blobs that trees or promises need, and removes the others."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._pins = Pins()
        self._refs = Refs(blobs.base, blobs)
        self._started = time.time()

    def promise(self, process_id: str, digests: Iterable[str]) -> None:
        """Keep *digests*, if they are held or come to be, for an hour for a job."""
        self._pins.pin(check_process_id(process_id), digests)

    def missing(self, about: wire.AboutBlobs) -> list[int]:
        """Which of the blobs are not held; those that are held have been promised."""
        # First promised, then looked for: see Pins.guarded.
        self.promise(about.process_id, (digest for digest, _ in about.blobs))
        lacking = []
        for number, (digest, size) in enumerate(about.blobs):
            if self._blobs.has(digest, size):
                self._blobs.touch(digest)
            else:
                lacking.append(number)
        return lacking

    def put(self, about: wire.AboutBlobs, body: memoryview) -> None:
        """Keep the blobs that *body* holds one after the other.

        Raises:
            BlobDamaged: one of them has another digest; those before it are kept.
            DiskError: they cannot be written.
        """
        self.promise(about.process_id, (digest for digest, _ in about.blobs))
        start = 0
        for digest, size in about.blobs:
            self._blobs.add(digest, body[start : start + size])
            start += size

    def receive_manifest(self, about: wire.AboutTree, body: memoryview) -> Manifest:
        """The manifest to be committed, kept as a blob; everything it needs has been promised.

        Raises:
            BlobDamaged, BlobMissing: its bytes are not the right ones, or are not here.
            BadPath: it does not describe a tree.
        """
        layout.tree_file(about.process_id, about.tree)
        self.promise(about.process_id, [about.digest])
        if len(body):
            if len(body) != about.size or digest_of(body) != about.digest:
                raise wrong_bytes(about.digest, digest_of(body))
            manifest = wire.unpack(body, about.digest)
            self._blobs.add(about.digest, body)
        else:
            manifest = wire.unpack(self._blobs.read_verified(about.digest, about.size), about.digest)
        self.promise(about.process_id, (entry.digest for entry in manifest.files))
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
        promised = [digest for digest in self._pins.drop(process_id) if self._refs.unused(digest)]
        return self._remove({*freed, *promised})

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
            raise missing(lacking)
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
            raise missing([about.digest])
        return self._blobs.read(about.digest, about.offset, about.length)

    def count_uses(self) -> None:
        """Read all trees, so that :meth:`sweep` knows what is in use."""
        self._refs.count_uses()

    def sweep(self) -> int:
        """Remove blobs that no tree uses and that are older than any promise (uploads that never ended)."""
        self._pins.forget_old()
        self._blobs.sweep_incoming()
        old = (digest for digest in self._blobs.all() if self._refs.unused(digest) and self._blobs.age(digest) > LASTS)
        return sum(self._pins.guarded(digest, partial(self._remove_unused, digest)) for digest in old)

    def status(self) -> StoreStatus:
        """What the store says of itself.

        Raises:
            DiskError: its folder is gone.
        """
        base = self._blobs.base
        try:
            disk = shutil.disk_usage(base)
        except OSError as error:
            raise disk_error(error, base, WHOSE) from error
        return StoreStatus(__version__, str(base), disk.free, disk.total, self._blobs.count, warning_at(base))

    def _remove(self, freed: Iterable[str]) -> int:
        return sum(self._pins.guarded(digest, partial(self._remove_free, digest)) for digest in freed)

    def _remove_free(self, digest: str) -> bool:
        age = self._blobs.age(digest)
        if time.time() - age < self._started and age < LASTS:
            return False  # it may have been promised to another job before this service started; sweep() looks again
        return self._blobs.remove(digest)

    def _remove_unused(self, digest: str) -> bool:
        return self._refs.unused(digest) and self._blobs.remove(digest)
