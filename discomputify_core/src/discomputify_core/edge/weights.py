"""How much room values take in a message, so that nothing is sent that a transport must refuse.

A message's head holds at most 1 MiB; whoever sends lists of things splits them by :data:`MOST`, which leaves room
for what is around them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgpack

from discomputify_core.errors import BadInput
from discomputify_core.model.codec import to_plain
from discomputify_core.model.job import JobSpec

T = TypeVar("T")

#: Most bytes of the things in one list.
MOST = 384 * 1024
#: Most bytes of a job as submitted: it travels together with a list of parts.
MOST_OF_A_JOB = 384 * 1024
#: Longest random key of a job, which is part of every attempt's id.
LONGEST_KEY = 64


def weight(value: Any) -> int:
    """Bytes that *value* (attrs instances, lists, maps…) takes in a message."""
    return len(msgpack.packb(to_plain(value)))


def batches(items: Iterable[T], most: int = MOST) -> Iterator[Sequence[T]]:
    """*items* in order, in lists of at most *most* bytes each; a heavier item comes alone."""
    batch: list[T] = []
    total = 0
    for item in items:
        heavy = weight(item)
        if batch and total + heavy > most:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += heavy
    if batch:
        yield batch


def check_job(spec: JobSpec) -> JobSpec:
    """*spec* if it can travel.

    Raises:
        BadInput: it is too big, or holds something that is no text.
    """
    if not 1 <= len(spec.key) <= LONGEST_KEY:
        raise BadInput(f"The key of a job has 1 to {LONGEST_KEY} characters.")
    try:
        size = weight(spec)
    except UnicodeEncodeError as error:
        raise BadInput(
            f"An argument, variable or pattern is not valid text (UTF-8): {error.object[:60]!r}. "
            f"Put such data into a file of the program directory."
        ) from None
    if size > MOST_OF_A_JOB:
        raise BadInput(
            f"Arguments, variables, patterns and requirements of this job take {size:,} bytes; at most "
            f"{MOST_OF_A_JOB:,} can travel with it. Put long lists into a file of the program directory."
        )
    return spec
