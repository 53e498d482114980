"""How nodes and a job on them look to old clients (CYPHER/1), who know nodes and no parts. Reads the state only."""

from __future__ import annotations

from discomputify_core.cluster.state import Job, Node, State
from discomputify_core.model.ids import NodeName
from discomputify_core.model.job import PartState


def live_nodes(state: State) -> list[Node]:
    """The nodes that are connected, in cluster order."""
    return sorted((node for node in state.nodes.values() if node.live), key=lambda node: node.order)


def loads(state: State) -> dict[str, dict[str, float]]:
    """What each live node carries."""
    return {
        node.name: {"CPU_LOAD": node.load.CPU_LOAD, "MEM_LOAD": node.load.MEM_LOAD, "MEM_USED": node.load.MEM_USED}
        for node in live_nodes(state)
    }


def with_parts(job: Job) -> set[NodeName]:
    """The nodes on which parts of *job* are placed or run."""
    return set(job.parts_on_nodes())


def under_way(state: State, job: Job | None, behind: bool) -> dict[str, bool]:
    """By node, whether *job* still has something to do there; None: a job that is not known.

    All are false exactly when the job has ended and its outputs can be had. A node is busy with the parts that it has;
    while parts wait for a node, or only outputs have to be shown, all nodes are.

    Args:
        behind: whether outputs of done parts are not shown to old clients yet.
    """
    names = [node.name for node in live_nodes(state)]
    if job is None:
        return dict.fromkeys(names, False)
    names = list(dict.fromkeys([*names, *job.ran_on])) or list(state.nodes)  # somebody has to be busy
    if job.ended and not behind:
        return dict.fromkeys(names, False)
    here = with_parts(job)
    everywhere = not here or job.parts.count(PartState.WAITING) + job.parts.count(PartState.READY) > 0
    return {name: everywhere or name in here for name in names}
