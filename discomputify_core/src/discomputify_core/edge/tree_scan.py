"""A folder of this machine as a tree: its manifest, and the local files behind it. Blocking: runs in threads.

Here: program directories (:func:`scan`), outputs (:func:`collect`), single files (:func:`pick`). Not here: stores
(trees.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import attrs

from discomputify_core.edge.ignore import Ignored, IgnoreRules
from discomputify_core.edge.tree_hash import LocalFile, MakeHasher, hash_file, hash_files
from discomputify_core.edge.tree_walk import Found, Walk, single, walk
from discomputify_core.errors import BadInput, BadPath, FileChanged
from discomputify_core.interfaces.files import Blob
from discomputify_core.model.files import Entry, Manifest

MAIN = "main.py"
#: How many problems, or names, an error lists.
SHOWN = 10


@attrs.frozen
class Scan:
    """A folder as it was when it was read."""

    folder: Path
    manifest: Manifest
    files: tuple[LocalFile, ...]
    #: What was left out, and why.
    ignored: tuple[Ignored, ...] = ()
    #: What could not be kept (not of :func:`scan`), one sentence each.
    warnings: tuple[str, ...] = ()

    @property
    def blobs(self) -> list[Blob]:
        """Its contents, each once."""
        return list({file.digest: file.blob for file in reversed(self.files)}.values())[::-1]


def check_program(folder: Path) -> None:
    """See that *folder* is a program directory, quickly.

    Raises:
        BadInput: it is missing, not a folder, empty, or has no ``main.py``; says what was found.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise BadInput(f"The program directory {folder} {what}.", path=str(folder))
    try:
        names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    except OSError as error:
        raise BadInput(f"The program directory {folder} cannot be read: {error.strerror}.", path=str(folder)) from error
    if not names:
        raise BadInput(f"The program directory {folder} is empty; it needs a {MAIN}.", path=str(folder))
    if not (folder / MAIN).is_file():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        found = ", ".join(names[:SHOWN]).encode(errors="replace").decode()
        raise BadInput(f"There is no {MAIN} in {folder}; found: {found}{more}.", path=str(folder))


def check_folders(entries: Iterable[Entry], folders: Sequence[str]) -> None:
    """See that a program's tree leaves room for *folders*, which every part needs: INPUT_PATH, OUTPUT_PATH.

    Raises:
        BadInput: a file stands where one of them, or a folder above it, is needed.
    """
    for entry in entries:
        for name in folders:
            if not entry.folder and (name + "/").startswith(entry.path + "/"):
                raise BadInput(
                    f"The program has a file {entry.path!r} where the folder {name!r} is needed. Rename it, or set "
                    "another INPUT_PATH or OUTPUT_PATH in the conf.",
                    path=entry.path,
                )


def scan(
    folder: Path,
    *,
    hasher: MakeHasher,
    output_path: str = "OUTPUT_PATH",
    also_ignored: Mapping[Path, str] | None = None,
) -> Scan:
    """Read a program directory.

    Args:
        hasher: makes hashers of the store that the tree is for.
        output_path: OUTPUT_PATH, which is left out.
        also_ignored: further local paths that are left out -> why (the conf in use, where outputs will go).

    Raises:
        BadInput, BadPath, FileChanged: all problems together: links that lead out, devices, unreadable files…
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder.", path=str(folder))
    rules = IgnoreRules(folder, output_path, also_ignored)
    ignored: list[Ignored] = []

    def skip(path: str, local: Path, is_folder: bool, target: str) -> bool:
        reason = rules.reason(path, local, is_folder) or (target and rules.never_below(target))
        if reason:
            shown = path.encode(errors="replace").decode()
            ignored.append(Ignored(shown + "/" * is_folder, reason))
        return bool(reason)

    files, problems, walked = _read(folder, skip, hasher)
    if problems:
        raise together(problems)
    ignored.sort(key=lambda each: each.path)
    return Scan(folder, _manifest(files, walked.empty_folders), tuple(files), tuple(ignored))


def collect(folder: Path, *, hasher: MakeHasher, prefix: str = "", skip: Callable[[str], bool] | None = None) -> Scan:
    """Read a folder of outputs: as :func:`scan` without its rules; what cannot be kept is left out with a warning.

    Args:
        prefix: folder of the tree under which all of it is put, such as ``outputs``.
        skip: given a path inside *folder*, says whether to leave it out.

    Raises:
        FileChanged: a file changes while it is read, again and again.
        BadInput: *folder* cannot be read.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder.", path=str(folder))
    start = f"{prefix}/" if prefix else ""
    files, problems, walked = _read(folder, lambda path, *_: skip is not None and skip(path), hasher, start)
    changing = [problem for problem in problems if isinstance(problem, FileChanged)]
    if changing:
        raise together(changing)
    warnings = tuple(str(problem) for problem in problems)
    return Scan(folder, _manifest(files, walked.empty_folders), tuple(files), warnings=warnings)


def pick(folder: Path, paths: Iterable[str], *, hasher: MakeHasher, prefix: str) -> Scan:
    """Read the files *paths* of a folder, by the rules of :func:`collect`; what cannot be kept is a warning."""
    found: list[Found] = []
    problems: list[BadInput] = []
    for path in paths:
        try:
            found.append(single(folder, path, f"{prefix}/"))
        except BadPath as problem:
            problems.append(problem)
    hashed = hash_files(found, hasher)
    files = [each for each in hashed if isinstance(each, LocalFile)]
    problems += (each for each in hashed if isinstance(each, BadInput))
    return Scan(folder, _manifest(files, ()), tuple(files), warnings=tuple(map(str, problems)))


def local_file(local: Path, path: str, hasher: MakeHasher) -> LocalFile:
    """Read one file, which is *path* in a tree. Raises as :func:`scan`."""
    return hash_file(Found(path, local), hasher)


def _read(
    folder: Path, skip: Callable[[str, Path, bool, str], bool], hasher: MakeHasher, prefix: str = ""
) -> tuple[list[LocalFile], list[BadInput], Walk]:
    walked = walk(folder, skip, prefix)
    hashed = hash_files(walked.files, hasher)
    files = [each for each in hashed if isinstance(each, LocalFile)]
    return files, [*walked.problems, *(each for each in hashed if isinstance(each, BadInput))], walked


def _manifest(files: Sequence[LocalFile], empty_folders: Sequence[str]) -> Manifest:
    return Manifest([*(file.entry for file in files), *(Entry(path, folder=True) for path in empty_folders)])


def together(problems: Sequence[BadInput]) -> BadInput:
    """One error for all of *problems*: the first ones in words, all paths as a field."""
    if len(problems) == 1:
        return problems[0]
    kinds = {type(problem) for problem in problems}
    kind = kinds.pop() if len(kinds) == 1 else BadPath if kinds <= {BadInput, BadPath} else BadInput
    lines = [f"{len(problems)} files or folders cannot be used:", *(f"  {problem}" for problem in problems[:SHOWN])]
    if len(problems) > SHOWN:
        lines.append(f"  … and {len(problems) - SHOWN} more")
    paths = [str(problem.fields.get("path", "")) for problem in problems]
    return kind("\n".join(lines), path=paths[0], paths=paths)
