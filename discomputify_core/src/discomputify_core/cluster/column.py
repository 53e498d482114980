"""A column of whole numbers in as few bytes each as the largest of them needs. Knows nothing of jobs and parts."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator

#: By how many bytes a number of theirs takes.
_KINDS = ("B", "H", "I", "Q")


class Column:
    """Numbers from 0 to 2**64 - 1, in an order; a master keeps those of all jobs that it knows, most of them small.

    Raises:
        OverflowError: a number is negative or larger.
    """

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data: array[int] = array(_KINDS[0])

    @classmethod
    def load(cls, data: bytes, kind: str = "I") -> Column:
        """The column of which :meth:`save` made *data*, with the same *kind*."""
        wide = array(kind)
        wide.frombytes(data)
        if sys.byteorder == "big":
            wide.byteswap()
        column = cls()
        column._widen(max(wide, default=0))
        column._data.extend(iter(wide))
        return column

    def save(self, kind: str = "I") -> bytes:
        """All numbers as those of :mod:`array`'s *kind*, the low byte first, on whatever machine."""
        wide = array(kind, self._data)
        if sys.byteorder == "big":
            wide.byteswap()
        return wide.tobytes()

    def append(self, number: int) -> None:
        """Add *number* at the end."""
        try:
            self._data.append(number)
        except OverflowError:
            self._widen(number)
            self._data.append(number)

    def index(self, number: int) -> int:
        """Where *number* stands first.

        Raises:
            ValueError: it is not there.
        """
        return self._data.index(number)

    def trim(self) -> None:
        """Give room back that was kept for more numbers."""
        self._data = self._data[:]

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, at: int) -> int:
        return self._data[at]

    def __setitem__(self, at: int, number: int) -> None:
        try:
            self._data[at] = number
        except OverflowError:
            self._widen(number)
            self._data[at] = number

    def __iter__(self) -> Iterator[int]:
        return iter(self._data)

    def _widen(self, number: int) -> None:
        """Let numbers be as large as *number*; for one that no kind can hold nothing changes."""
        for kind in _KINDS:
            if 0 <= number < 1 << 8 * array(kind).itemsize:
                if array(kind).itemsize > self._data.itemsize:
                    self._data = array(kind, self._data)
                return
