"""Words: which there are in a text, and which reducer adds up which. Knows nothing of jobs or folders."""

from __future__ import annotations

import re
import zlib
from collections import Counter

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def count(text: str) -> Counter[str]:
    """How often each word is in *text*; capital letters make no difference."""
    return Counter(_WORD.findall(text.lower()))


def reducer_of(word: str, reducers: int) -> int:
    """Which of the reducers, from 1, adds up *word*: the same in every process, unlike what ``hash`` says."""
    return zlib.crc32(word.encode()) % reducers + 1


def ordered(counts: Counter[str]) -> dict[str, int]:
    """The counts, commonest first; equal counts give equal JSON."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
