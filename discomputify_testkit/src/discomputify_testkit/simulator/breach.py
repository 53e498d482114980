"""The error for a promise that the cluster has broken. Not here: what is promised (checks.py)."""

from __future__ import annotations


class Breach(Exception):
    """A promise is broken: a bug of the cluster, a policy or the simulator, and never an accident of a history.

    Args:
        what: a sentence.
        at: virtual seconds.
        trace: what happened last, a line each; empty unless the simulation was told to keep it.
    """

    def __init__(self, what: str, at: float = 0.0, trace: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.at = at
        self.trace = trace
