"""The store's operations: their names, the data of their requests, and how a manifest is packed. Pure."""

from __future__ import annotations

import attrs
import msgpack

from discomputify_core.errors import BadPath, PeerBroke
from discomputify_core.model.files import Digest, Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_ftp.hashing import digest_of

#: About blobs -> ``{"missing": [index…]}``. Those that are held stay for an hour.
MISSING = "store.missing"
#: About blobs, whose bytes are the body, one after the other.
PUT = "store.put"
#: About a chunk -> ``{"held": bytes}``: how far a big blob has arrived.
FAR = "store.far"
#: About a chunk, whose bytes are the body -> ``{"held": bytes}``.
APPEND = "store.append"
#: About a tree; the body is the packed manifest, or empty where that is held as a blob.
COMMIT = "store.commit"
#: About a tree -> ``{"size": bytes}``; the body is the packed manifest where it is small.
MANIFEST = "store.manifest"
#: About a tree, by its name -> ``{"digest": text}``: its manifest's.
FIND = "store.find"
#: About a tree: what old clients wrote for its job is its tree ``upload`` now -> as :data:`FIND`.
GATHER = "store.gather"
#: About blobs; the body of the answer is their bytes, one after the other.
FETCH = "store.fetch"
#: About a chunk; the body of the answer is its bytes.
READ = "store.read"
#: About a chunk: its blob arrived damaged -> ``{"damaged": bool}``: whether it is so in the store.
DAMAGED = "store.damaged"
#: About a tree: its job goes.
CLEAR = "store.clear"
#: Some trees of a job go.
DROP = "store.drop"
#: About a tree: its job -> ``{"bytes": bytes}`` of the blobs that all its trees use.
USAGE = "store.usage"
#: -> ``{"digests": [digest…]}``: lost blobs.
WANTED = "store.wanted"
#: About a source -> Source: where a node that shares blobs fetches one from.
SOURCE = "store.source"
#: What a node has to share.
SHARES = "store.shares"
#: Most blobs in one :data:`SHARES`.
MOST_SHARED = 1000
#: -> StoreStatus
STATUS = "store.status"


@attrs.frozen
class AboutBlobs:
    """Some blobs: (digest, size) each."""

    process_id: ProcessId
    blobs: tuple[tuple[str, int], ...] = ()


@attrs.frozen
class AboutChunk:
    """A piece of a blob of *size* bytes."""

    process_id: ProcessId
    digest: str
    size: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    offset: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    length: int = attrs.field(default=0, validator=attrs.validators.ge(0))


@attrs.frozen
class AboutSource:
    """A blob of *size* bytes that the node sharing at *address* needs, and the source that it could not use."""

    process_id: ProcessId
    digest: str
    size: int = attrs.field(validator=attrs.validators.ge(0))
    address: str
    failed: str = ""


@attrs.frozen
class Shared:
    """Blobs that the node sharing at *address* has."""

    process_id: ProcessId
    digests: tuple[str, ...]
    address: str


@attrs.frozen
class AboutTree:
    """A tree of a job, and the digest and size of its packed manifest."""

    process_id: ProcessId
    tree: str = ""
    digest: str = ""
    size: int = 0


@attrs.frozen
class AboutTrees:
    """Some trees of a job by name."""

    process_id: ProcessId
    trees: tuple[str, ...] = ()


@attrs.frozen
class Used:
    """Answer to :data:`USAGE`."""

    bytes: int


@attrs.frozen
class Noted:
    """Answer to :data:`SHARES`."""


@attrs.frozen
class Wanted:
    """Answer to :data:`WANTED`."""

    digests: tuple[str, ...] = ()


@attrs.frozen
class Missing:
    """Answer to :data:`MISSING`: positions in the question."""

    missing: tuple[int, ...] = ()


@attrs.frozen
class Held:
    """Answer to :data:`FAR` and :data:`APPEND`."""

    held: int


@attrs.frozen
class Examined:
    """Answer to :data:`DAMAGED`."""

    damaged: bool


@attrs.frozen
class Found:
    """Answer to :data:`FIND` and :data:`GATHER`."""

    digest: str


@attrs.frozen
class Size:
    """Answer to :data:`MANIFEST`."""

    size: int


def pack(manifest: Manifest) -> bytes:
    """*manifest* as bytes, always the same for the same tree: its rows in order of their paths, as MessagePack."""
    packed: bytes = msgpack.packb(manifest.to_rows())
    return packed


def unpack(data: bytes | bytearray | memoryview, digest: str) -> Manifest:
    """The manifest that *data*, found under *digest*, holds.

    Raises:
        BadPath: it does not describe a tree.
    """
    try:
        rows = msgpack.unpackb(data)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise BadPath(f"The manifest {digest} cannot be read: {error}.", path="") from error
    if not isinstance(rows, list):
        raise BadPath(f"The manifest {digest} cannot be read: it is not a list.", path="")
    return Manifest.from_rows(rows)


def packed_digest(manifest: Manifest) -> tuple[bytes, Digest]:
    """*manifest* as bytes, and their digest."""
    packed = pack(manifest)
    return packed, digest_of(packed)


def check_body(body: bytes | bytearray | memoryview, blobs: AboutBlobs) -> None:
    """Refuse a body that does not hold exactly *blobs*.

    Raises:
        PeerBroke: it does not.
    """
    if any(size < 0 for _, size in blobs.blobs) or sum(size for _, size in blobs.blobs) != len(body):
        raise PeerBroke(f"A message with blobs has {len(body)} bytes, which is not what it says.", clause=PUT)
