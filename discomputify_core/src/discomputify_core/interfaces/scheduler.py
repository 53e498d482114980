"""The promise of a scheduling policy: pure, deterministic, quick."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from discomputify_core.model.view import ClusterView, Decision, Ready


class Scheduler(ABC):
    """A scheduling policy. It runs in the master and, unchanged, in simulations.

    Class attributes: ``name`` (what SCHEDULER in the conf says) and ``options`` (attrs class of its section, or None).

    Rules: no IO, no clock (``view.now`` is the time), no randomness. Equal arguments and equal history
    give an equal answer; ties are broken by the order of ``view.nodes``. It may keep state between passes
    (a turn, a heap). Per placement O(log nodes) or better.

    What it keeps can be copied with ``copy.deepcopy``. Jobs whose parts start together are offered alone, to a copy
    first: if that does not place all their parts, the question counts as never asked, and none of them is placed.
    """

    name: ClassVar[str]
    options: ClassVar[type | None] = None

    def __init__(self, options: Any = None) -> None:
        self.settings = options

    @abstractmethod
    def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
        """Say which parts go where, or why they wait.

        *ready* is never a list of all parts but one range per job (and per set of nodes to avoid), in the order in
        which work should start. ``view.nodes`` are the nodes with free capacity as they are before this pass: the
        policy keeps count of what it gives away. Core refuses a placement that does not fit
        (unknown node, too many parts, a node to avoid, more than is free), names the policy in the log, and
        the parts stay ready.
        """
