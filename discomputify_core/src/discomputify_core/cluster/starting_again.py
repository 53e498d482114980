"""A master begins with what an earlier one wrote down: what may not have been carried out is asked for again.

Not here: that nodes have time to come back (on_nodes.py), and which attempts they are told to stop (as they join).
"""

from __future__ import annotations

from discomputify_core.cluster import on_memory
from discomputify_core.cluster.turn import Turn
from discomputify_core.model.commands import CheckTree, ClearMemory, ClearStore, GatherInputs

#: By how much versions of jobs grow with every start, so that whoever watches one sees news.
VERSIONS = 2**32


def begin(turn: Turn) -> None:
    """Ask for everything again that nobody knows of whether it was done."""
    state = turn.state
    state.starts += 1
    for scope in state.clearing_memory:
        turn.commands.append(ClearMemory(scope))
    for process_id in state.clearing:
        turn.commands.append(ClearStore(process_id))
    for job in state.jobs.values():
        job.version = state.starts * VERSIONS
        turn.changed[job.id] = None
        if job.ended:
            continue
        if not job.checked:
            turn.commands.append(CheckTree(job.id, job.spec.key, job.spec.tree))
        if job.gathering and not job.admitted:
            turn.commands.append(GatherInputs(job.spec))
        if job.memory.told:
            on_memory.tell_again(turn, job)
