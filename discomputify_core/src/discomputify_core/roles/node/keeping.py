"""What is kept of an attempt in the store, as one tree: ``outputs/``, ``collected/``, ``logs/``. Blocks: for threads.

Here: reading what a program left, and saying what of it cannot be kept, without this node's own paths. Not here: where
it lies (workspace.py), bringing it to the store (committing.py).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from discomputify_core.edge import trees
from discomputify_core.edge.tree_hash import MakeHasher
from discomputify_core.errors import BadInput
from discomputify_core.interfaces.files import Blob
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.roles.node.workspace import Workspace

#: How many problems a sentence names, and the most characters of each.
SHOWN, MAX_PROBLEM = 10, 180


@attrs.frozen
class Kept:
    """What is to be kept of an attempt."""

    manifest: Manifest
    blobs: tuple[Blob, ...]
    #: Why there are no outputs among it, "" if that is as it should be.
    fault: str = ""
    #: Files that ``--collect`` asked for and that cannot be kept, a sentence each, the first few.
    unkept: tuple[str, ...] = ()


def keep(workspace: Workspace, hasher: MakeHasher, *, outputs: bool, collected: Iterable[str] = ()) -> Kept:
    """Read what is to be kept. Outputs come all or not at all: if one of them cannot be kept, there is a ``fault``.

    Args:
        workspace: where the program ran; nothing of it runs any more.
        hasher: makes hashers of the store.
        outputs: whether outputs count.
        collected: paths relative to the work folder.

    Raises:
        BadInput: a log cannot be read.
    """
    logs = [_log(stream, hasher) for stream in (workspace.out, workspace.err) if _written(stream)]
    extra = trees.pick(workspace.folder, collected, hasher=hasher, prefix="collected")
    files, empty, fault = [*extra.files, *logs], list[Entry](), ""
    if outputs:
        found, problems = _outputs(workspace, hasher)
        if problems:
            fault = problems
        elif found is not None:
            files += found.files
            empty = [entry for entry in found.manifest.entries if entry.folder]
    manifest = Manifest([*empty, *(file.entry for file in files)])
    unkept = tuple(_shortened(workspace, each) for each in extra.warnings[:SHOWN])
    return Kept(manifest, tuple(file.blob for file in files), fault, unkept)


def _outputs(workspace: Workspace, hasher: MakeHasher) -> tuple[trees.Scan | None, str]:
    """The outputs, or why there are none."""
    fault = workspace.output_fault()
    if fault:
        return None, fault
    try:
        found = trees.collect(workspace.outputs, hasher=hasher, prefix="outputs")
    except BadInput as error:
        return None, _listed(workspace, str(error).splitlines())
    return found, _listed(workspace, found.warnings) if found.warnings else ""


def _listed(workspace: Workspace, problems: Sequence[str]) -> str:
    said = " ".join(_shortened(workspace, each) for each in problems[:SHOWN])
    more = f" … and {len(problems) - SHOWN} more." if len(problems) > SHOWN else ""
    return f"left outputs that cannot be kept: {said}{more}"


def _shortened(workspace: Workspace, problem: str) -> str:
    """*problem* with paths as the program knows them, short enough to stand among others."""
    for place in {str(workspace.folder), str(workspace.folder.resolve())}:
        problem = problem.replace(place + os.sep, "")
    return problem if len(problem) <= MAX_PROBLEM else problem[: MAX_PROBLEM - 1] + "…"


def _log(stream: Path, hasher: MakeHasher) -> trees.LocalFile:
    return trees.local_file(stream, f"logs/{stream.name}", hasher)


def _written(stream: Path) -> bool:
    """Whether something was written to *stream*, and it is still the file that the runner made."""
    try:
        info = stream.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(info.st_mode) and info.st_size > 0
