"""Walking a folder: which files and empty folders are in it, which links may be followed. Nothing is read here.

Not here: what is left out (ignore.py), digests (tree_hash.py), stores (trees.py).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import attrs

from discomputify_core.errors import BadInput, BadPath
from discomputify_core.model.files import check_path

#: (path in the tree, local path, whether it is a folder, where in the tree a link leads or "") -> leave it out?
Skip = Callable[[str, Path, bool, str], bool]

#: A folder of Windows that is really another one.
_JUNCTION = 0xA0000003


@attrs.frozen
class Found:
    """A file of the tree."""

    path: str
    local: Path


@attrs.frozen
class Walk:
    """What a walk found. ``problems`` name the path that they are about; what has one is not in the other lists."""

    files: tuple[Found, ...]
    empty_folders: tuple[str, ...]
    problems: tuple[BadInput, ...]


def walk(folder: Path, skip: Skip, prefix: str = "") -> Walk:
    """Look at everything below *folder* that *skip* does not leave out.

    *prefix* is put before all paths that are found (not before those that *skip* and the problems name).

    Links to files and folders inside *folder* are followed. Other links, links that lead in a circle, sockets,
    pipes, devices, folders that cannot be listed and names that no tree may hold are problems.
    A folder is empty when nothing below it was found.
    """
    return _Walker(folder, skip, prefix).walk()


def single(folder: Path, path: str, prefix: str = "") -> Found:
    """The one file *path* below *folder*, by the rules of :func:`walk`; links to folders are not followed.

    Raises:
        BadPath: it cannot be part of a tree; says why.
    """
    local = folder / path
    try:
        _check_name(path, prefix)
        _, mode = _behind(local, folder.resolve())
        if stat.S_ISDIR(mode):
            raise _Problem(f"{local} is a link to a folder, which is not followed")
        _check_kind(local, mode)
    except _Problem as problem:
        raise _bad_path(path, problem) from None
    return Found(prefix + path, local)


@attrs.frozen
class _Folder:
    path: str
    local: Path
    #: Device and inode of the folders above: one that comes again is a circle.
    above: frozenset[tuple[int, int]]


class _Problem(Exception):
    """Why something cannot be part of a tree."""


class _Walker:
    def __init__(self, folder: Path, skip: Skip, prefix: str) -> None:
        self._skip = skip
        self._prefix = prefix
        self._real = folder.resolve()
        self._left = [_Folder("", folder, frozenset())]
        self._files: list[Found] = []
        self._folders: list[str] = []
        self._holding: set[str] = set()
        self._problems: list[BadInput] = []

    def walk(self) -> Walk:
        while self._left:
            folder = self._left.pop()
            try:
                self._enter(folder)
            except _Problem as problem:
                self._note(folder.path, problem)
        empty = (self._prefix + path for path in self._folders if path not in self._holding)
        return Walk(
            tuple(sorted(self._files, key=lambda found: found.path)),
            tuple(sorted(empty)),
            tuple(sorted(self._problems, key=lambda problem: str(problem.fields.get("path")))),
        )

    def _enter(self, folder: _Folder) -> None:
        try:
            facts = folder.local.stat()
            with os.scandir(folder.local) as listing:
                entries = list(listing)
        except OSError as error:
            raise _Problem(f"The folder {folder.local} cannot be read: {error.strerror}") from error
        me = (facts.st_dev, facts.st_ino)
        if me in folder.above:
            raise _Problem(f"The link {folder.local} leads in a circle, to {folder.local.resolve()}")
        for entry in entries:
            path = f"{folder.path}/{entry.name}" if folder.path else entry.name
            try:
                below = self._look(path, entry)
            except _Problem as problem:
                self._note(path, problem)
            except BadPath as problem:
                self._problems.append(problem)
            else:
                if below is not None:
                    self._holding.add(folder.path)
                    self._keep(path, below, folder.above | {me})

    def _keep(self, path: str, below: tuple[Path, bool], above: frozenset[tuple[int, int]]) -> None:
        local, is_folder = below
        if is_folder:
            self._folders.append(path)
            self._left.append(_Folder(path, local, above))
        else:
            self._files.append(Found(self._prefix + path, local))

    def _look(self, path: str, entry: os.DirEntry[str]) -> tuple[Path, bool] | None:
        """The local path and whether it is a folder; None for what is left out."""
        local = Path(entry.path)
        try:
            mode, target = self._followed(local, entry.stat(follow_symlinks=False))
        except _Problem:
            if self._skip(path, local, False, ""):
                return None
            raise
        except OSError as error:
            if self._skip(path, local, False, ""):
                return None
            raise _Problem(f"{local} cannot be read: {error.strerror}") from error
        is_folder = stat.S_ISDIR(mode)
        if self._skip(path, local, is_folder, target):
            return None
        _check_name(path, self._prefix)
        if not is_folder:
            _check_kind(local, mode)
        return local, is_folder

    def _followed(self, local: Path, facts: os.stat_result) -> tuple[int, str]:
        """Type of *local*, behind a link if it is one, and where in the tree that leads."""
        if not is_link(facts):
            return facts.st_mode, ""
        real, mode = _behind(local, self._real)
        return mode, real.relative_to(self._real).as_posix()

    def _note(self, path: str, problem: _Problem) -> None:
        self._problems.append(_bad_path(path, problem))


def is_link(facts: os.stat_result) -> bool:
    """Whether *facts*, of an ``lstat``, are of a link, or of a folder of Windows that is really another one."""
    return stat.S_ISLNK(facts.st_mode) or getattr(facts, "st_reparse_tag", 0) == _JUNCTION


def _check_name(path: str, prefix: str) -> None:
    check_path(path)  # whoever takes the prefix off again needs a path, too
    check_path(prefix + path)


def _check_kind(local: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise _Problem(f"{local} is {_kind(mode)}, which cannot be part of a tree")


def _behind(local: Path, root: Path) -> tuple[Path, int]:
    """Where *local* really is, which has to be inside *root*, and its type."""
    try:
        real = local.resolve(strict=True)
        mode = real.stat().st_mode
    except FileNotFoundError:
        raise _Problem(f"The link {local} leads nowhere: there is no {_target(local)}") from None
    except (OSError, RuntimeError):  # a circle of links is a RuntimeError up to Python 3.12
        raise _Problem(f"The link {local} cannot be followed to {_target(local)}") from None
    if real != root and root not in real.parents:
        raise _Problem(f"The link {local} leads out of the folder, to {_target(local)}")
    return real, mode


def _bad_path(path: str, problem: _Problem) -> BadPath:
    text = str(problem).encode(errors="backslashreplace").decode()
    return BadPath(f"{text}.", path=path.encode(errors="replace").decode() or ".")


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return "its target"


def _kind(mode: int) -> str:
    if stat.S_ISSOCK(mode):
        return "a socket"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
        return "a device"
    return "neither a file nor a folder"
