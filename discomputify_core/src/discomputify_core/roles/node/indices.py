"""Which of a node's countable resources a part gets: number 0 and 1 of four GPUs, say."""

from __future__ import annotations

from collections.abc import Mapping


class Indices:
    """Hands out numbers of named resources, lowest first.

    Args:
        resources: how many of each there are.
    """

    def __init__(self, resources: Mapping[str, int]) -> None:
        self._free = {name: set(range(count)) for name, count in resources.items()}

    def take(self, needs: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Numbers for *needs*; fewer where the master gave more away than there is."""
        taken = {}
        for name, count in needs.items():
            free = self._free.get(name, set())
            taken[name] = tuple(sorted(free)[:count])
            free.difference_update(taken[name])
        return taken

    def give_back(self, taken: Mapping[str, tuple[int, ...]]) -> None:
        """These are free again."""
        for name, numbers in taken.items():
            if numbers:
                self._free[name].update(numbers)
