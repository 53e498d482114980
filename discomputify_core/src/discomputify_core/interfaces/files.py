"""The promise of a file store, seen from its clients: blobs by digest, trees by name within a job."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import attrs

from discomputify_core.errors import StoreError
from discomputify_core.interfaces.calls import Caller
from discomputify_core.model.conf import Conf
from discomputify_core.model.files import Digest, Manifest
from discomputify_core.model.ids import ProcessId


@attrs.frozen
class Blob:
    """A blob and the local file that holds it, or shall hold it."""

    digest: Digest
    size: int
    path: Path


@attrs.frozen
class StoreStatus:
    """What a store says of itself."""

    version: str = ""
    #: Where it keeps things, for people.
    place: str = ""
    free: int = 0
    total: int = 0
    blobs: int = 0
    #: Kind of file system, and what is wrong with it ("tmpfs: gone after a reboot"), if anything.
    warning: str = ""
    #: Why it takes no uploads at the moment, and what to do: a sentence; "" if it takes them.
    full: str = ""


@attrs.frozen
class Source:
    """Where a computing node that shares blobs with others is to fetch one from."""

    #: HOST:PORT of a node that has it; "": the store.
    address: str = ""
    #: Seconds after which to ask again, since all that have it are busy; 0: fetch it now.
    wait: float = 0.0


class Hasher(Protocol):
    """Digests a stream of bytes."""

    def update(self, data: bytes | bytearray | memoryview, /) -> object:
        """Add *data*."""

    def digest(self) -> Digest:
        """The digest of all data so far, with the algorithm's name."""


Moved = Callable[[int], None]
"""Told how many bytes were moved, as they are."""

#: Name of the tree of a job that was uploaded before the job was started.
UPLOADED = "upload"
#: Trees of a job whose names begin so are shown to old clients (CYPHER/1) by stores that serve them, as folders of the
#: rest of the name: ``shown/qwe_1_3`` as ``qwe_1_3``.
SHOWN = "shown/"


class FileStore(ABC):
    """A store plugin's client side. One instance per process; methods may run concurrently.

    Class attributes: ``name`` (what STORE in the conf says) and ``options`` (attrs class of its section, or None).

    A blob is visible only when complete and verified. A tree is visible only when all its blobs are.
    A blob that turns out to be damaged is not held any more: anybody who has it can put it again, which mends every
    tree that needs it.
    Everything belongs to a job (a process id) and goes with it at :meth:`clear`; a blob shared by several
    jobs stays until the last of them is cleared.
    """

    name: ClassVar[str]
    options: ClassVar[type | None] = None

    @abstractmethod
    def __init__(self, conf: Conf, options: Any, query: Caller, files: Caller) -> None:
        """*query* asks QUERY_NODE (small questions), *files* asks FTP_NODE (bodies of files)."""

    @classmethod
    def check(cls, conf: Conf, options: Any) -> Sequence[str]:
        """What of the conf this store cannot use: as ``Transport.check``."""
        return ()

    @classmethod
    @abstractmethod
    def hasher(cls) -> Hasher:
        """A new hasher of the store's algorithm."""

    @abstractmethod
    async def missing(self, process_id: ProcessId, blobs: Sequence[tuple[Digest, int]]) -> list[Digest]:
        """Which of *blobs* (digest, size) the store lacks, in the order given, each once.

        Those it holds will not be removed for at least an hour, so that a commit that follows finds them.
        """

    @abstractmethod
    async def put(self, process_id: ProcessId, blobs: Sequence[Blob], moved: Moved | None = None) -> None:
        """Send the local files of *blobs*; returns when all are held and verified.

        Resumes where an earlier, cut transfer of the same blob ended. Blobs that are held already are not sent again.

        Raises:
            BlobDamaged: a file's bytes do not have the digest (it changed); ``fields["digest"]``.
            StoreFull: the store's disk is full; or, for who is no computing node and no master, its reserve begins.
            DiskError: the store's disk is unwritable.
            Unreachable: the store did not answer in time.
        """

    @abstractmethod
    async def commit(self, process_id: ProcessId, tree: str, manifest: Manifest) -> Digest:
        """Make *manifest* the tree named *tree* of the job; returns the manifest's own digest.

        Replaces a tree of that name. All or nothing.

        Raises:
            BlobMissing: the store lacks some of its blobs (``fields["digests"]``).
            StoreFull, DiskError, Unreachable: as for :meth:`put`.
        """

    @abstractmethod
    async def manifest(self, process_id: ProcessId, digest: Digest) -> Manifest:
        """The manifest with that digest, which some tree of the job is.

        Raises:
            NoSuchTree: the job has no tree with that digest.
            BlobDamaged: what the store holds is damaged.
        """

    @abstractmethod
    async def find(self, process_id: ProcessId, tree: str) -> Digest:
        """The digest of the job's tree named *tree*.

        Raises:
            NoSuchTree: the job has no tree of that name.
        """

    async def gather(self, process_id: ProcessId) -> Digest:
        """Make the files that old clients (CYPHER/1) wrote for the job its tree :data:`UPLOADED`; returns its digest.

        Only for stores that serve old clients; others need not override it.

        Raises:
            NoSuchTree: old clients wrote nothing for the job.
            BadInput: one of the files has not arrived completely; names it.
            StoreFull, DiskError, Unreachable: as for :meth:`put`.
        """
        raise StoreError(f"The store '{self.name}' does not serve old clients (CYPHER/1).")

    @abstractmethod
    async def get(self, process_id: ProcessId, blobs: Sequence[Blob], moved: Moved | None = None) -> None:
        """Fetch blobs of trees of the job into their local paths, whose folders exist.

        Each file appears complete and verified or not at all. Resumes within the call after a cut connection.

        Raises:
            BlobMissing: the store lacks one.
            BlobDamaged: the bytes that arrived do not have the digest, also when asked again.
            DiskError: a local file cannot be written.
            Unreachable: the store did not answer in time.
        """

    @abstractmethod
    async def clear(self, process_id: ProcessId) -> None:
        """Remove all trees of the job, and every blob that no other job uses. No error if there is nothing."""

    async def drop(self, process_id: ProcessId, trees: Sequence[str]) -> bool:
        """Remove the job's trees of these names, and every blob that no other tree uses. No error if there are none.

        Only to have the room earlier than at :meth:`clear`: a store need not override it.

        Returns:
            Whether they are gone; False from a store that keeps them until the job is cleared.

        Raises:
            DiskError, Unreachable: as for :meth:`clear`.
        """
        return False

    async def usage(self, process_id: ProcessId) -> int | None:
        """Bytes of the blobs that the job's trees use, each blob once; None from a store that does not count them.

        Raises:
            Unreachable: the store did not answer in time.
        """
        return None

    async def wanted(self) -> Sequence[Digest]:
        """Some blobs that trees need and that were found damaged or lost: whoever has one is asked to :meth:`put` it.

        At most a thousand. A store that does not keep count of them has none.

        Raises:
            Unreachable: the store did not answer in time.
        """
        return ()

    async def source(self, process_id: ProcessId, digest: Digest, size: int, address: str, failed: str = "") -> Source:
        """Where the node that shares blobs at *address* fetches that one from; whoever is told so is busy with it.

        So that many nodes that need the same blob do not all fetch it from the store. One that does not know who has
        what sends everybody to itself.

        Args:
            failed: the address that was told before and did not have it, or could not be reached.

        Raises:
            Unreachable: the store did not answer in time.
        """
        return Source()

    async def shares(self, process_id: ProcessId, digests: Sequence[Digest], address: str) -> bool:
        """The node that shares blobs at *address* has these now. At most a thousand.

        Returns:
            Whether others will be told so.

        Raises:
            Unreachable: the store did not answer in time.
        """
        return False

    @abstractmethod
    async def status(self) -> StoreStatus:
        """What the store says of itself.

        Raises:
            Unreachable: the store did not answer in time.
        """
