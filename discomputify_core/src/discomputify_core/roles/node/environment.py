"""The command line and environment of a part's program. Pure: what the node's own environment is, it is told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from discomputify_core.model.job import JobSpec
from discomputify_core.roles.node.workspace import Workspace

#: Libraries that would otherwise start a thread per CPU of the machine in every part.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

_OWN = "DISCOMPUTIFY_"


def command(interpreter: str, spec: JobSpec, part: int) -> tuple[str, ...]:
    """What to run in the work folder: ``main.py PART TOTAL_PARTS PROCESS_ID [ARGS…]``."""
    return (interpreter, "main.py", str(part), str(spec.parts), spec.process_id, *spec.args)


def environment(
    spec: JobSpec,
    part: int,
    number: int,
    workspace: Workspace,
    *,
    base: Mapping[str, str],
    agent: Mapping[str, str],
    indices: Mapping[str, Sequence[int]],
) -> dict[str, str]:
    """The environment of one attempt.

    Args:
        spec: the job; its ``env`` overrides all but DISCOMPUTIFY_… and the indices.
        part: from 1.
        number: which attempt of the part this is, from 1.
        workspace: its folder.
        base: the node's own environment. Its DISCOMPUTIFY_… (where the conf is…) is not passed on.
        agent: what ``AgentServer.register`` gave.
        indices: which ones of each named resource the part was given, for instance ``{"gpu": [1]}``: exported as
            DISCOMPUTIFY_GPU_INDICES, and for ``gpu`` also as CUDA_VISIBLE_DEVICES.
    """
    found = {name: value for name, value in base.items() if not name.upper().startswith(_OWN)}
    found.update(dict.fromkeys(THREADS, str(spec.request.cpus)))
    found["PYTHONUNBUFFERED"] = "1"  # logs are followed live
    found.setdefault("PYTHONIOENCODING", "utf-8")  # Windows would use the code page for streams that are not a terminal
    found.update((name, value) for name, value in spec.env.items() if not name.upper().startswith(_OWN))
    for name, numbers in indices.items():
        text = ",".join(map(str, numbers))
        found[f"{_OWN}{re.sub('[^A-Z0-9]', '_', name.upper())}_INDICES"] = text
        if name == "gpu":
            found["CUDA_VISIBLE_DEVICES"] = text
    found.update(agent)
    found.update(
        {
            f"{_OWN}PART": str(part),
            f"{_OWN}TOTAL_PARTS": str(spec.parts),
            f"{_OWN}PROCESS_ID": spec.process_id,
            f"{_OWN}ATTEMPT": str(number),
            f"{_OWN}INPUT_PATH": str(workspace.inputs),
            f"{_OWN}OUTPUT_PATH": str(workspace.outputs),
            f"{_OWN}WORK_PATH": str(workspace.folder),
            f"{_OWN}CHECKPOINT_PATH": str(workspace.checkpoint),
            f"{_OWN}INPUTS": spec.inputs,
        }
    )
    return found
