"""What a part keeps by ``program.checkpoint()``: from its folder into the store, and to its next attempt's folder.

The folder is beside the program's current one, so that it is no output and no stray file. All attempts of a part write
one tree of the job, the newest in place of the one before; when the job is cleared it goes, too. Not here: what the
program asks (part_agent.py), who tells the next attempt (the master).
"""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable
from pathlib import Path

from discomputify_core.edge import trees
from discomputify_core.edge.tree_hash import MakeHasher
from discomputify_core.edge.tree_walk import is_link
from discomputify_core.errors import BadInput, BlobDamaged, BlobMissing, NoSuchTree
from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.files import Digest, Manifest, check_digest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.message import Start
from discomputify_core.roles.node.committing import Commits
from discomputify_core.roles.node.keeping import Kept

log = logging.getLogger("discomputify.node")

#: Seconds for which a program waits for a store that is away.
PATIENCE = 600.0
#: How many problems an error names.
SHOWN = 10


def tree_name(start: Start) -> str:
    """The tree of the job that holds the checkpoint of a part. Parts that started over together begin anew."""
    return f"checkpoint/{start.part}.{start.generation}"


class Checkpoints:
    """Checkpoints of one attempt.

    Args:
        commits: the way into the store.
        start: which part, which attempt.
        folder: what the program keeps; exists.
        on_kept: told the digest of each that is in the store.
        waiting: told what there is waiting for; "" when that is over.
    """

    def __init__(
        self,
        commits: Commits,
        start: Start,
        folder: Path,
        on_kept: Callable[[str], None],
        waiting: Callable[[str], None],
    ) -> None:
        self._commits = commits
        self._start = start
        self._folder = folder
        self._on_kept = on_kept
        self._waiting = waiting
        self._one_by_one = asyncio.Lock()

    async def keep(self) -> None:
        """Bring the folder, as it is now, into the store. The program waits meanwhile, and changes nothing in it.

        Raises:
            BadInput: something in it cannot be kept, or changed meanwhile.
            StoreFull, DiskError, Unreachable: the store cannot take it.
        """
        async with self._one_by_one:
            store, said = self._commits.store, False

            def waiting(sentence: str) -> None:
                nonlocal said
                said = True
                self._waiting(sentence)

            try:
                kept = await asyncio.to_thread(_look, self._folder, store.hasher)
                pid, name = self._start.process_id, tree_name(self._start)
                digest = await self._commits.commit(
                    pid, name, kept, waiting, what="the files of its checkpoint", patience=PATIENCE
                )
            except BlobDamaged as error:
                raise BadInput(f"A file changed while it was being kept: {error}") from error
            finally:
                if said:
                    self._waiting("")
            self._on_kept(digest)


async def restore(store: FileStore, start: Start, folder: Path) -> None:
    """Put what an earlier attempt kept into *folder*, which is made, in place of what is there.

    If the store has lost it the part begins anew: late is better than never.

    Raises:
        DiskError: the folder cannot be written.
        Unreachable: the store did not answer in time.
    """
    try:
        manifest = await _newest(store, start)
        await trees.download(store, start.process_id, manifest, folder)
    except (NoSuchTree, BlobMissing, BlobDamaged) as error:
        log.warning("part %s of '%s' begins anew, its checkpoint is lost: %s", start.part, start.process_id, error)
        await asyncio.to_thread(folder.mkdir, mode=0o700, exist_ok=True)


async def _newest(store: FileStore, start: Start) -> Manifest:
    """The manifest that the master knows of, or the one that took its place without its knowledge."""
    try:
        return await store.manifest(start.process_id, check_digest(start.checkpoint))
    except NoSuchTree:
        found: Digest = await store.find(ProcessId(start.process_id), tree_name(start))
        return await store.manifest(start.process_id, found)


def _look(folder: Path, hasher: MakeHasher) -> Kept:
    try:
        info = folder.lstat()
    except OSError as error:
        raise BadInput(f"The folder DISCOMPUTIFY_CHECKPOINT_PATH is gone: {error.strerror}.") from error
    if is_link(info) or not stat.S_ISDIR(info.st_mode):
        raise BadInput("DISCOMPUTIFY_CHECKPOINT_PATH is no folder any more: the program replaced it.")
    found = trees.collect(folder, hasher=hasher, prefix="")
    if found.warnings:
        more = f" … and {len(found.warnings) - SHOWN} more." if len(found.warnings) > SHOWN else ""
        raise BadInput(" ".join(found.warnings[:SHOWN]) + more)
    return Kept(found.manifest, tuple(file.blob for file in found.files))
