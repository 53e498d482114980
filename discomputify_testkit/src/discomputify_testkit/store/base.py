"""What every clause of the store suite uses: what a subclass has to give, and local files with known bytes."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import attrs
import pytest

from discomputify_core.interfaces.files import Blob, FileStore
from discomputify_core.model.files import Digest, Entry, Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_testkit.loopback import Faults, no_faults

T = TypeVar("T")

#: Seconds within which anything that is expected happens.
DEADLINE = 30.0

JOB = ProcessId("job_one")
OTHER = ProcessId("job_two")


@attrs.frozen
class Capabilities:
    """What a store promises beyond blobs and trees. A clause that needs what is False here is skipped.

    What is False unless a store says otherwise are methods that it need not override.
    """

    #: A transfer that was cut goes on where it ended.
    resumes: bool = True
    #: It asks a service through the callers it is given, so that the suite can make them fail.
    over_calls: bool = True
    #: The subclass overrides ``damage``.
    can_be_damaged: bool = True
    #: What turned out to be damaged is missing from then on and mended by whoever brings it; it says what it wants.
    mends: bool = False
    #: It refuses uploads below a reserve; the subclass overrides ``filled``.
    has_reserve: bool = False
    #: It can remove single trees of a job.
    drops: bool = False
    #: It counts the bytes that a job's trees use.
    counts: bool = False
    #: It sends nodes that need a blob to others that have it; the subclass overrides ``node``.
    shares: bool = False


async def within(awaitable: Awaitable[T], deadline: float = DEADLINE) -> T:
    """The result of *awaitable*, or TimeoutError."""
    return await asyncio.wait_for(awaitable, deadline)


class StoreSuite(ABC):
    """What a subclass gives."""

    capabilities = Capabilities()

    @abstractmethod
    def make_store(self, folder: Path, faults: Faults = no_faults) -> AbstractAsyncContextManager[FileStore]:
        """A client of a new and empty store, which may keep its things in *folder*; closed at the end.

        A store with ``over_calls`` asks its service through ``LoopbackCaller(…, faults=faults)``.
        """

    async def damage(self, store: FileStore, digest: Digest) -> None:
        """Change a byte of what *store* holds as *digest*, behind its back."""
        raise NotImplementedError

    def filled(self, store: FileStore) -> AbstractContextManager[FileStore]:
        """While inside, *store* (a client's) has less room than its reserve; gives a computing node's store."""
        raise NotImplementedError

    @asynccontextmanager
    async def node(self, store: FileStore) -> AsyncIterator[FileStore]:
        """The client of the same store that a computing node has."""
        yield store

    def need(self, *capabilities: str) -> None:
        """Skip the test where the store lacks one of *capabilities*."""
        for capability in capabilities:
            if not getattr(self.capabilities, capability):
                pytest.skip(f"the store does not promise: {capability}")


def blob_of(store: FileStore, path: Path, data: bytes) -> Blob:
    """A local file with *data*, and what it is to *store*."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    hasher = store.hasher()
    hasher.update(data)
    return Blob(hasher.digest(), len(data), path)


def wanted(blob: Blob) -> tuple[Digest, int]:
    """What :meth:`FileStore.missing` asks about *blob*."""
    return blob.digest, blob.size


def at(blob: Blob, path: Path) -> Blob:
    """*blob*, to be fetched to *path*."""
    return attrs.evolve(blob, path=path)


def manifest_of(**files: Blob) -> Manifest:
    """A tree of files by name."""
    return Manifest(Entry(name, blob.size, blob.digest) for name, blob in files.items())


async def committed(store: FileStore, job: ProcessId, tree: str, blobs: Sequence[Blob]) -> Digest:
    """The digest of a tree of *blobs*, sent and committed."""
    await within(store.put(job, blobs))
    return await within(store.commit(job, tree, manifest_of(**{blob.path.name: blob for blob in blobs})))


async def lacks(store: FileStore, *blobs: Blob, job: ProcessId = JOB) -> list[Digest]:
    """Which of *blobs* the store lacks."""
    return await within(store.missing(job, [wanted(blob) for blob in blobs]))
