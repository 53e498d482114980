"""What of a program directory is never uploaded, and why. Here: the rules. Not here: walking (tree_walk.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from discomputify_core.errors import BadInput
from discomputify_core.model.conf import CONF_NAME

if TYPE_CHECKING:
    import pathspec

IGNORE_NAME = ".discomputifyignore"
#: A file of this name in a folder says that the folder holds fetched outputs of a job.
JOB_MARK = ".discomputify_job"

_NEVER = {
    CONF_NAME: "it holds the cluster's key",
    ".git": "the history of the program is not needed to run it",
    "__pycache__": "Python makes it again",
    IGNORE_NAME: "it is about uploading only",
}
_NEVER_FOLDED = {name.casefold(): reason for name, reason in _NEVER.items()}


@attrs.frozen
class Ignored:
    """A file or folder that was left out."""

    path: str
    reason: str


class IgnoreRules:
    """The rules for one program directory.

    Args:
        folder: the program directory.
        output_path: OUTPUT_PATH of the conf.
        also: further local paths -> why they are left out (the conf in use, where outputs go).

    Raises:
        BadInput: its ``.discomputifyignore`` cannot be read.
    """

    def __init__(self, folder: Path, output_path: str, also: Mapping[Path, str] | None = None) -> None:
        self._folder = folder
        self._output_path = output_path
        self._also = {path.resolve(): reason for path, reason in (also or {}).items()}
        self._spec = read_ignore_file(folder / IGNORE_NAME)

    def reason(self, path: str, local: Path, is_folder: bool) -> str:
        """Why *path* (inside the tree; *local* on disk) is left out; "" if it is not."""
        return self.never(path, local, is_folder) or self._listed(path, is_folder)

    def never(self, path: str, local: Path, is_folder: bool) -> str:
        """As :meth:`reason`, without what the user listed: rules that links cannot go around."""
        known = _NEVER_FOLDED.get(local.name.casefold())
        if known:
            return known
        if path == self._output_path:
            return "it is OUTPUT_PATH: parts get an empty one"
        if is_folder and (local / "pyvenv.cfg").is_file():
            return "it is a virtual environment: nodes have their own interpreter"
        if is_folder and (local / JOB_MARK).is_file():
            return "it holds fetched outputs of an earlier job"
        return self._also.get(local.resolve(), "") if self._also else ""

    def never_below(self, inside: str) -> str:
        """As :meth:`never` for *inside* (a path in the tree, without links) and all folders above it."""
        names = inside.split("/")
        for count in range(1, len(names) + 1):
            path = "/".join(names[:count])
            local = self._folder / path
            reason = self.never(path, local, local.is_dir())
            if reason:
                return reason
        return ""

    def _listed(self, path: str, is_folder: bool) -> str:
        if self._spec is not None and self._spec.match_file(path + "/" if is_folder else path):
            return f"{IGNORE_NAME} lists it"
        return ""


def read_ignore_file(path: Path) -> pathspec.GitIgnoreSpec | None:
    """The patterns of *path*, or None where there is no such file.

    Raises:
        BadInput: it cannot be read, or a pattern in it is not one.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}. It has to be a text file in UTF-8.", path=str(path)) from error
    for number, line in enumerate(lines, 1):
        matcher([line], f"{path}, line {number}")
    return matcher(lines, str(path))


def matcher(patterns: Sequence[str], where: str) -> pathspec.GitIgnoreSpec:
    """Gitignore-style *patterns*, which the user wrote *where*.

    Raises:
        BadInput: one of them is not a pattern.
    """
    import pathspec  # costs time to import, and few programs leave anything out

    for pattern in patterns:
        try:
            pathspec.GitIgnoreSpec.from_lines([pattern])
        except ValueError as error:
            raise BadInput(f"{where}: {pattern!r} is not a pattern: {error}", pattern=pattern) from error
    return pathspec.GitIgnoreSpec.from_lines(patterns)
