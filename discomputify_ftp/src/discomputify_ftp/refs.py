"""Which trees each job has, and which blobs are in use because of that. Blocking: runs in threads, one at a time.

On disk a tree is a small file that names its manifest, a blob. In memory: the trees of jobs that were asked
about, and, once something is to be removed, how many trees use each blob.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import msgpack

from discomputify_core.errors import BadPath, BlobDamaged, BlobMissing
from discomputify_core.model.files import Digest, Manifest
from discomputify_ftp import layout
from discomputify_ftp.blobs import Blobs
from discomputify_ftp.disk import WHOSE, naming, remove, replace, write_new
from discomputify_ftp.wire import unpack

log = logging.getLogger("discomputify.ftp")


@attrs.frozen
class Ref:
    """One tree: its name, the digest of its packed manifest, and how long that is."""

    tree: str
    digest: Digest
    size: int


class Refs:
    """The folder of jobs."""

    def __init__(self, base: Path, blobs: Blobs) -> None:
        self._base = base
        self._blobs = blobs
        #: Folder of a job -> tree -> ref.
        self._jobs: dict[str, dict[str, Ref]] = {}
        self._sizes: dict[str, dict[str, int]] = {}
        #: None: nobody has counted.
        self._uses: Counter[str] | None = None
        #: Manifests that were damaged or gone when it was counted what they use.
        self._unread: set[Digest] = set()

    def size_of(self, process_id: str, digest: str) -> int | None:
        """How long the manifest *digest* is, if some tree of the job is it."""
        folder = layout.job_folder(process_id)
        self._trees(folder)
        return self._sizes.get(folder, {}).get(digest)

    def trees(self, process_id: str) -> dict[str, Ref]:
        """The trees of a job by name."""
        return dict(self._trees(layout.job_folder(process_id)))

    def every(self) -> Iterator[tuple[str, Ref]]:
        """All trees of all jobs, each with the folder of its job."""
        jobs = self._base / layout.JOBS
        with naming(jobs, WHOSE):
            places = sorted(jobs.iterdir())
        for place in places:
            folder = f"{layout.JOBS}/{place.name}"
            for ref in list(self._trees(folder).values()):
                yield folder, ref

    def put(self, process_id: str, ref: Ref, manifest: Manifest) -> list[str]:
        """Make *ref* a tree of the job; returns what no tree uses any more because another tree had that name.

        Raises:
            DiskError: it cannot be written; the tree is what it was before.
        """
        folder = layout.job_folder(process_id)
        old = self._trees(folder).get(ref.tree)
        if old == ref:
            return []
        gone = []
        if old:
            self._use_counts()  # before anything changes
            gone.append((old, self._manifest(old)))
        new, target = self._blobs.new_path(), self._base / layout.tree_file(process_id, ref.tree)
        with naming(target, WHOSE):
            write_new(new, msgpack.packb([ref.tree, ref.digest, ref.size]), 0o600)
            try:
                replace(new, target)
            except OSError:
                remove(new)
                raise
        if ref.digest in self._unread:
            self._uses = None  # another tree of that manifest was counted as lost
        if self._uses is not None:
            self._uses.update(_used(ref, manifest))
        trees = self._jobs.setdefault(folder, {})
        trees[ref.tree] = ref
        self._sizes.setdefault(folder, {})[ref.digest] = ref.size
        if old is None:
            return []
        self._sizes[folder] = {each.digest: each.size for each in trees.values()}
        return self._release(gone)

    def remove(self, process_id: str, tree: str) -> list[str] | None:
        """Remove a tree of the job; returns the blobs that no tree uses any more, None if it has no such tree.

        Raises:
            DiskError: it cannot be removed.
        """
        folder = layout.job_folder(process_id)
        trees = self._trees(folder)
        ref = trees.get(tree)
        if ref is None:
            return None
        self._use_counts()  # before anything changes
        manifest = self._manifest(ref)
        place = self._base / layout.tree_file(process_id, tree)
        with naming(place, WHOSE):
            place.unlink(missing_ok=True)
        del trees[tree]
        self._sizes[folder] = {each.digest: each.size for each in trees.values()}
        if not trees:
            self._forget(folder)
            with suppress(OSError):
                place.parent.rmdir()
        return self._release([(ref, manifest)])

    def clear(self, process_id: str) -> list[str]:
        """Remove all trees of a job at once; returns the blobs that no tree uses any more.

        Raises:
            DiskError: they cannot be removed.
        """
        folder = layout.job_folder(process_id)
        place = self._base / folder
        if not place.exists():
            return []
        self._use_counts()
        gone = [(ref, self._manifest(ref)) for ref in self._trees(folder).values()]
        aside = self._blobs.new_path()
        with naming(place, WHOSE):
            place.rename(aside)
        self._forget(folder)
        shutil.rmtree(aside, ignore_errors=True)
        return self._release(gone)

    def unused(self, digest: str) -> bool:
        """Whether it is sure that no tree uses a blob: never before somebody has counted. May be called at any time."""
        uses = self._uses
        return uses is not None and not uses[digest] and not self._mended()

    def count_uses(self) -> None:
        """Read all trees, so that :meth:`unused` knows from now on.

        Raises:
            DiskError: one cannot be read; nothing is unused then.
        """
        self._use_counts()

    def _forget(self, folder: str) -> None:
        self._jobs.pop(folder, None)
        self._sizes.pop(folder, None)

    def _release(self, gone: Iterable[tuple[Ref, Manifest | None]]) -> list[str]:
        """Those trees are gone, of which *manifest* is what :meth:`_use_counts` had counted, or None if it is lost."""
        uses = self._uses
        freed: list[str] = []
        if uses is None:
            return freed
        for ref, manifest in gone:
            if (manifest is None) != (ref.digest in self._unread):
                # Lost or mended since it was counted: what is in use is found by counting again.
                self._uses = None
                return []
            for digest in _used(ref, manifest):
                uses[digest] -= 1
                if uses[digest] <= 0:
                    del uses[digest]
                    freed.append(digest)
        return freed

    def _use_counts(self) -> Counter[str]:
        if self._uses is None or self._mended():
            self._uses = None
            uses: Counter[str] = Counter()
            unread: set[Digest] = set()
            for _, ref in self.every():
                manifest = self._manifest(ref)
                uses.update(_used(ref, manifest))
                if manifest is None:
                    unread.add(ref.digest)
            self._unread = unread
            self._uses = uses
        return self._uses

    def _mended(self) -> bool:
        """Whether a manifest that was lost when it was counted is here again: then the counts are wrong."""
        return any(self._blobs.path(digest).exists() for digest in self._unread)

    def _trees(self, folder: str) -> dict[str, Ref]:
        trees = self._jobs.get(folder)
        if trees is None:
            trees = {ref.tree: ref for ref in self._read(self._base / folder)}
            if trees:  # names of jobs that do not exist are not remembered, however many are asked about
                self._jobs[folder] = trees
                self._sizes[folder] = {ref.digest: ref.size for ref in trees.values()}
        return trees

    def _read(self, place: Path) -> Iterator[Ref]:
        if not place.is_dir():
            return
        with naming(place, WHOSE):
            paths = list(place.iterdir())
        for path in paths:
            ref = _parse(path)
            if ref is not None:
                yield ref

    def _manifest(self, ref: Ref) -> Manifest | None:
        """The manifest; None if it is lost.

        Raises:
            DiskError: it cannot be read now, which says nothing about it.
        """
        try:
            return unpack(self._blobs.read_verified(ref.digest, ref.size), ref.digest)
        except (BlobMissing, BlobDamaged, BadPath) as error:
            # Nobody can read that tree any more, so it keeps no blobs.
            log.warning("the manifest %s of the tree %r is lost: %s", ref.digest, ref.tree, error)
            return None


def _used(ref: Ref, manifest: Manifest | None) -> set[str]:
    return {ref.digest, *(entry.digest for entry in manifest.files)} if manifest else {ref.digest}


def _parse(path: Path) -> Ref | None:
    rows: Any = None
    with naming(path, WHOSE):
        data = path.read_bytes()
    with suppress(ValueError, msgpack.UnpackException):
        rows = msgpack.unpackb(data)
    match rows:
        case [str(tree), str(digest), int(size)]:
            return Ref(tree, Digest(digest), size)
    log.warning("%s does not name a manifest: ignored", path)
    return None
