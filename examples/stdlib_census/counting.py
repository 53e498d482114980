"""Counting the tokens of Python files: one file, and the sum of many counts. Knows nothing of jobs or folders."""

from __future__ import annotations

import io
import keyword
import tokenize
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from token import tok_name
from typing import Any


@dataclass
class Counts:
    """What was counted in some files."""

    files: int = 0
    bytes: int = 0
    lines: int = 0
    #: How often each kind of token (NAME, OP, COMMENT…) occurs.
    tokens: Counter[str] = field(default_factory=Counter)
    keywords: Counter[str] = field(default_factory=Counter)
    #: Names of files that are no valid Python; of those only files, bytes and lines are counted.
    not_tokenised: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Add what *other* counted. The order in which counts are added makes no difference."""
        self.files += other.files
        self.bytes += other.bytes
        self.lines += other.lines
        self.tokens += other.tokens
        self.keywords += other.keywords
        self.not_tokenised = sorted(self.not_tokenised + other.not_tokenised)

    def to_data(self) -> dict[str, Any]:
        """The counts as JSON can hold them, in a fixed order: equal counts give equal text."""
        data = dict(vars(self))
        for name in ("tokens", "keywords"):
            data[name] = dict(sorted(data[name].items(), key=lambda item: (-item[1], item[0])))
        return data

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Counts:
        """The counts that :meth:`to_data` wrote."""
        return cls(**{**data, "tokens": Counter(data["tokens"]), "keywords": Counter(data["keywords"])})


def count(name: str, source: bytes) -> Counts:
    """The counts of one file; *name* is listed if the file is no valid Python."""
    found = Counts(files=1, bytes=len(source), lines=source.count(b"\n"))
    try:
        tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
    except (SyntaxError, tokenize.TokenError, UnicodeDecodeError):
        # The standard library's own tests contain files that are wrong on purpose.
        found.not_tokenised.append(name)
        return found
    found.tokens.update(tok_name[token.type] for token in tokens)
    found.keywords.update(token.string for token in tokens if keyword.iskeyword(token.string))
    return found


def total(counts: Iterable[Counts]) -> Counts:
    """The sum of *counts*."""
    summed = Counts()
    for each in counts:
        summed.add(each)
    return summed
