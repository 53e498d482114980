"""The folder in which one attempt runs: the program's files, its inputs, an empty OUTPUT_PATH, its logs.

Layout below WORK_PATH/NODE (``base``)::

    ATTEMPT/work     the program's current folder
    ATTEMPT/out err  its streams
    ATTEMPT/fetched  inputs on their way into place
    ATTEMPT/checkpoint  what the part keeps for its next attempt (checkpoints.py)

Here: making it, adding to it, looking at what a program left, removing it. Everything but :func:`stage` blocks and is
meant for threads (``asyncio.to_thread``). Not here: processes (runner.py), the store (edge/trees.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from discomputify_core.edge import clock
from discomputify_core.edge.ignore import matcher
from discomputify_core.edge.machine import is_root
from discomputify_core.edge.tree_scan import check_folders
from discomputify_core.edge.tree_walk import is_link
from discomputify_core.errors import BadInput, BlobDamaged, BlobMissing
from discomputify_core.interfaces.files import FileStore, Moved
from discomputify_core.model.conf import CONF_NAME
from discomputify_core.model.files import Entry, Manifest, check_path
from discomputify_core.model.ids import AttemptId
from discomputify_core.model.inputs import entries_for
from discomputify_core.model.job import JobSpec
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.cache_index import BlobKey
from discomputify_core.roles.node.disk import naming
from discomputify_core.roles.node.removing import remove_tree

#: How many strays are named.
MAX_STRAYS = 20
#: How often an attempt's files are placed again because the cache's changed meanwhile.
TRIES = 3

logger = logging.getLogger(__name__)


def may_link() -> bool:
    """Whether programs here cannot write into read-only files by accident, so that links to the cache are safe."""
    return sys.platform != "win32" and not is_root()


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:  # of a folder that the program made so that it can be listed and not entered
        return None


@attrs.frozen
class Left:
    """What a program left outside OUTPUT_PATH: new files, and files of the program that it changed."""

    #: Paths relative to the work folder, as the file system has them, that a pattern asks for.
    collected: tuple[str, ...] = ()
    #: The first few others, as text, and how many there are in all.
    strays: tuple[str, ...] = ()
    stray_count: int = 0


class Workspace:
    """One attempt's folder. Made by :meth:`create`; :meth:`remove` it when its outputs are in the store."""

    def __init__(self, home: Path, spec: JobSpec, cache: BlobCache, *, link: bool) -> None:
        self.home = home
        #: The program's current folder.
        self.folder = home / "work"
        self.inputs = self.folder / spec.input_path
        self.outputs = self.folder / spec.output_path
        #: Where the program's streams go.
        self.out = home / "out"
        self.err = home / "err"
        #: What the part keeps for its next attempt: beside its current folder, so it is neither output nor stray.
        self.checkpoint = home / "checkpoint"
        self._fetched = home / "fetched"
        self._spec = spec
        self._cache = cache
        self._link = link
        #: Guards the two below: inputs may be added while a program runs.
        self._lock = threading.Lock()
        #: Size and mtime of what was placed, by path.
        self._placed: dict[str, tuple[int, int]] = {}
        self._linked: set[BlobKey] = set()

    @classmethod
    def create(
        cls,
        base: Path,
        attempt: AttemptId,
        spec: JobSpec,
        entries: Sequence[Entry],
        cache: BlobCache,
        *,
        root: bool | None = None,
        conf: bytes = b"",
    ) -> Workspace:
        """Make the folder of *attempt* below *base*, with *entries* in it, which the cache holds.

        Files are hard links to the cache where this account is not root and the file system can, else copies
        (that share their blocks where the file system can). All are read-only; folders are not.

        Args:
            base: WORK_PATH/NODE.
            attempt: names the folder. An older one of that name is removed.
            spec: the job.
            entries: what the part needs (:func:`~discomputify_core.model.inputs.entries_for`).
            cache: this node's cache, where they were ensured.
            root: whether to act as root does; by default as this process is.
            conf: discomputify_conf.json of a program that brings none; empty: none.

        Raises:
            DiskError: the disk is full or a folder cannot be written.
            BlobMissing, BlobDamaged: the cache lost a file meanwhile; ensure them and try again.
            BadInput: the attempt's id or the program's tree cannot be a folder.
        """
        if "/" in attempt:
            raise BadInput(f"The attempt {attempt!r} cannot name a folder.")
        link = may_link() if root is None else not root
        workspace = cls(base / check_path(attempt), spec, cache, link=link)
        try:
            with naming(workspace.home):
                base.mkdir(mode=0o700, parents=True, exist_ok=True)
                remove_tree(workspace.home)
                for folder in (workspace.home, workspace.folder, workspace.checkpoint, workspace._fetched):
                    folder.mkdir(mode=0o700)
            workspace._fill(entries)
            if conf:
                workspace._place_conf(conf)
        except BaseException:
            workspace.remove()
            raise
        return workspace

    def _fill(self, entries: Sequence[Entry]) -> None:
        check_folders(entries, (self._spec.input_path, self._spec.output_path))
        output = self._spec.output_path + "/"
        entries = [entry for entry in entries if not (entry.path + "/").startswith(output)]
        folders = {entry.path if entry.folder else entry.path.rpartition("/")[0] for entry in entries}
        for name in sorted(folders | {self._spec.input_path, self._spec.output_path}):
            with naming(self.folder / name):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        for entry in entries:
            if not entry.folder:
                self._place(entry, self.folder / entry.path)

    def _place(self, entry: Entry, target: Path) -> None:
        linked = self._cache.place(entry, target, link=self._link)
        with naming(target):
            info = target.lstat()
        with self._lock:
            self._placed[entry.path] = (info.st_size, info.st_mtime_ns)
            if linked:
                self._linked.add(BlobKey.of(entry))

    def _place_conf(self, conf: bytes) -> None:
        target = self.folder / CONF_NAME
        with naming(target):
            try:
                with target.open("xb") as file:
                    file.write(conf)
            except FileExistsError:  # the program's own
                return
            info = target.lstat()
        self._placed[CONF_NAME] = (info.st_size, info.st_mtime_ns)

    def add(self, entry: Entry) -> None:
        """Put one more input, which the cache holds, into place while the program runs: all of it or nothing.

        Does nothing where the program has put something there.

        Raises:
            DiskError, BlobMissing, BlobDamaged: as for :meth:`create`.
            BadInput: the program has turned the folder into something else.
        """
        target = self.folder / entry.path
        with naming(target):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                inside = target.parent.resolve().is_relative_to(self.folder.resolve())
            except FileExistsError:
                inside = False
            if not inside:
                raise BadInput(
                    f"The input {entry.path!r} cannot be fetched: the program replaced its folder by something else.",
                    path=entry.path,
                )
            if os.path.lexists(target):
                return
            part = self._fetched / clock.token()
            with self._cache.changing_links([BlobKey.of(entry)]):  # a rename moves ctime too
                try:
                    self._place(entry, part)
                    part.replace(target)
                finally:
                    part.unlink(missing_ok=True)

    def look(self, collect: Iterable[str] = ()) -> Left:
        """What the program left outside OUTPUT_PATH; ``__pycache__`` does not count.

        Args:
            collect: gitignore-style patterns, relative to the work folder, of files that are wanted.

        Raises:
            DiskError: a folder cannot be read.
            BadInput: one of *collect* is not a pattern.
        """
        wanted = matcher(tuple(collect), "--collect")
        collected = []
        strays: list[str] = []
        count = 0
        with naming(self.folder):
            for path in self._new_or_changed():
                if wanted.match_file(path):
                    collected.append(path)
                    continue
                count += 1
                if len(strays) < MAX_STRAYS:
                    strays.append(os.fsencode(path).decode(errors="replace"))
        return Left(tuple(collected), tuple(strays), count)

    def _new_or_changed(self) -> Iterator[str]:
        """Paths of files, and of links to folders, which are not entered. A program may have made any folder odd."""
        if is_link(self.folder.lstat()):
            return
        for place, folders, names in os.walk(self.folder):
            here = Path(place).relative_to(self.folder).as_posix()
            start = "" if here == "." else here + "/"
            wanted = [name for name in folders if name != "__pycache__" and start + name != self._spec.output_path]
            links = {name for name in wanted if (info := _lstat(Path(place, name))) and is_link(info)}
            folders[:] = sorted(set(wanted) - links)
            for name in sorted(links.union(names)):
                path, info = start + name, _lstat(Path(place, name))
                kept = info is not None and self._placed.get(path) == (info.st_size, info.st_mtime_ns)
                if not kept and path != self._spec.output_path:
                    yield path

    def output_fault(self) -> str:
        """What the program did to OUTPUT_PATH, so that nothing can be kept of it; "" if it is what it was.

        No link on the way to it is followed: it would bring home what is no output.
        """
        place, name = self.folder, self._spec.output_path
        for component in (".", *name.split("/")):
            place = place / component
            shown = "its work folder" if place == self.folder else place.relative_to(self.folder).as_posix()
            try:
                info = place.lstat()
                found = "a link now" if is_link(info) else "" if stat.S_ISDIR(info.st_mode) else "no folder now"
            except (FileNotFoundError, NotADirectoryError):
                found = "gone"
            except OSError as error:
                found = f"locked ({error.strerror})"
            if found:
                return f"removed or replaced its {name}: {shown} is {found}"
        return ""

    def remove(self) -> bool:
        """Remove the folder, also where the program made parts of it read-only.

        Returns:
            Whether it is gone. What stays is logged, and swept when the node starts again.
        """
        with self._lock:
            linked = set(self._linked)
        with self._cache.changing_links(linked):
            gone = remove_tree(self.home)
        if not gone:
            logger.warning("The work folder %s cannot be removed completely.", self.home)
        return gone


async def stage(
    base: Path,
    attempt: AttemptId,
    spec: JobSpec,
    part: int,
    manifest: Manifest,
    cache: BlobCache,
    store: FileStore,
    *,
    root: bool | None = None,
    moved: Moved | None = None,
    conf: bytes = b"",
) -> Workspace:
    """Fetch what *part* needs and make the attempt's folder; nothing stays of it when this is cancelled or fails.

    Raises:
        DiskError, BadInput: as for :meth:`Workspace.create`.
        DiskError, BlobMissing, BlobDamaged, Unreachable: as for :meth:`BlobCache.ensure`.
    """
    entries = await asyncio.to_thread(entries_for, manifest, spec.input_path, spec.inputs, part, spec.parts)
    cache.pin(attempt, entries)
    try:
        for tries_left in reversed(range(TRIES)):
            await cache.ensure(store, spec.process_id, entries, moved)
            try:
                return await _created(base, attempt, spec, entries, cache, root, conf)
            except (BlobDamaged, BlobMissing):
                if not tries_left:
                    raise
    finally:
        cache.unpin(attempt)
    raise AssertionError("unreachable")


async def _created(
    base: Path,
    attempt: AttemptId,
    spec: JobSpec,
    entries: Sequence[Entry],
    cache: BlobCache,
    root: bool | None,
    conf: bytes,
) -> Workspace:
    making = asyncio.ensure_future(
        asyncio.to_thread(Workspace.create, base, attempt, spec, entries, cache, root=root, conf=conf)
    )
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        # A thread cannot be cancelled: what it makes is removed as soon as it is made.
        await asyncio.wait({making})
        if not making.exception():
            await asyncio.to_thread(making.result().remove)
        raise


def sweep(base: Path) -> None:
    """Remove what earlier sessions of this node left below *base* (WORK_PATH/NODE). Hold its FolderLock first.

    Raises:
        DiskError: the folder cannot be read.
    """
    with naming(base):
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in sorted(base.iterdir()):
            if left.is_dir() and not left.is_symlink() and not remove_tree(left):
                logger.warning("The old work folder %s cannot be removed completely.", left)
