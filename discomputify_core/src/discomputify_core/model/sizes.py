"""How many bytes, for people. Here: the words. Not here: what they are bytes of."""

from __future__ import annotations

from collections.abc import Sequence


def size(count: int) -> str:
    """*count* bytes of files for people, as disks are sold: ``1.5 GB``."""
    return _in_units(count, 1000, ("B", "kB", "MB", "GB", "TB"))


def memory_size(count: int) -> str:
    """*count* bytes of memory for people, in the units of ``--memory``: ``1.5 GiB``."""
    return _in_units(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def _in_units(count: int, base: int, units: Sequence[str]) -> str:
    value = float(count)
    for unit in units[:-1]:
        if value < base:
            return f"{value:.0f} {unit}" if unit == units[0] else f"{value:.1f} {unit}"
        value /= base
    return f"{value:.1f} {units[-1]}"
