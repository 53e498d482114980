"""How transfers are cut into messages: many small blobs into one, a big one into several. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from discomputify_core.model.message import MAX_BODY

T = TypeVar("T")

#: A blob up to this size shares a message with others.
SMALL = 256 * 1024
#: Most bytes of a chunk: larger ones are not faster, and hold up what shares the connection.
MAX_CHUNK = 4 * 1024 * 1024
#: Most small blobs in one message (their digests must fit into its head).
MAX_BATCH = 1000
#: Most blobs asked about in one question.
MAX_QUESTION = 4000
#: Most names of trees in one request.
MOST_NAMES = 500


def chunk_size(wanted: int) -> int:
    """Bytes per chunk where the conf says *wanted*."""
    return max(1, min(wanted, MAX_CHUNK, MAX_BODY))


def chunks(start: int, size: int, length: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of the chunks of a blob of *size* bytes from *start* on."""
    for offset in range(start, size, length):
        yield offset, min(length, size - offset)


def batches(
    items: Iterable[T], size_of: Callable[[T], int], most_bytes: int, most: int = MAX_BATCH
) -> Iterator[list[T]]:
    """*items* in order, in groups of at most *most* and of at most *most_bytes* (one item may be larger)."""
    batch: list[T] = []
    held = 0
    for item in items:
        size = size_of(item)
        if batch and (len(batch) >= most or held + size > most_bytes):
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += size
    if batch:
        yield batch


def slices(items: Sequence[T], most: int = MAX_QUESTION) -> Iterator[Sequence[T]]:
    """*items* in order, in groups of at most *most*."""
    for start in range(0, len(items), most):
        yield items[start : start + most]
