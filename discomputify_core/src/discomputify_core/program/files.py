"""Opening inputs and outputs of a part by paths that stay inside its folders."""

from __future__ import annotations

# Importing pathlib would cost every part of every job milliseconds.
# ruff: noqa: PTH103, PTH113, PTH117, PTH118, PTH120, PTH123
import os

from discomputify_core.errors import (
    CanNotGoUpInDirectory,
    CanNotOpenFileAtOutputPath,
    FileNotFound,
    FileNotFoundAtInputPath,
)
from discomputify_core.program.here import variable
from discomputify_core.program.names import fault

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from typing import IO, Any


def open_file(path: str | os.PathLike[str], mode: str = "r", **options: Any) -> IO[Any]:
    """Open an input for reading, or an output for writing; otherwise like the built-in ``open``.

    Args:
        path: relative, without ``..``. For reading: below INPUT_PATH, or else a file of the program
            (``INPUT_PATH/a.txt`` and ``a.txt`` are the same input). For writing: below OUTPUT_PATH; folders
            are made as needed. Inputs that have not been fetched yet are fetched now.
        mode: ``r`` reads an input; modes with ``w``, ``a``, ``x`` or ``+`` open an output.
        **options: as for the built-in ``open`` (``encoding``, ``newline``…).

    Raises:
        CanNotGoUpInDirectory: the path has ``..`` in it or is absolute.
        FileNotFoundAtInputPath: there is no such input.
        CanNotOpenFileAtOutputPath: the output cannot be opened, or could not be kept under that name.
        NotInAPart: this process is not a part of a job.
    """
    inside = _inside(path)
    if any(letter in mode for letter in "wax+"):
        return _open_below_output(inside, mode, options)
    return open(_input(inside), mode, **options)


def open_output(path: str | os.PathLike[str], mode: str = "r", **options: Any) -> IO[Any]:
    """Open a file below OUTPUT_PATH in any mode: with the default one, read back what this part has written.

    Raises:
        CanNotGoUpInDirectory: the path has ``..`` in it or is absolute.
        FileNotFound: this part has written no such file.
        CanNotOpenFileAtOutputPath: it cannot be opened for another reason.
        NotInAPart: this process is not a part of a job.
    """
    return _open_below_output(_inside(path), mode, options)


def _inside(path: str | os.PathLike[str]) -> str:
    """*path* as text with ``/`` between its components, sure to stay inside a folder."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"A path is text, not {type(text).__name__}: {text!r}.")
    if os.sep != "/":
        text = text.replace(os.sep, "/")
    if os.path.isabs(text) or os.path.splitdrive(text)[0] or text.startswith("/"):
        raise CanNotGoUpInDirectory(
            f"The path {text!r} is absolute. Paths are relative to INPUT_PATH (reading) or OUTPUT_PATH (writing).",
            path=text,
        )
    names = [name for name in text.split("/") if name not in ("", ".")]
    if ".." in names:
        raise CanNotGoUpInDirectory(
            f"The path {text!r} goes up with '..'. A part sees only what is inside its own folders.", path=text
        )
    return "/".join(names)


def _input(inside: str) -> str:
    """The local file of the input or program file *inside*, fetched if need be."""
    inputs = variable("INPUT_PATH")
    work = variable("WORK_PATH")
    tree = os.path.relpath(inputs, work).replace(os.sep, "/")
    named_in_full = inside.startswith(tree + "/")
    below = inside[len(tree) + 1 :] if named_in_full else inside
    for name in dict.fromkeys((below, inside)):
        local = os.path.join(inputs, name)
        if os.path.isfile(local) or _fetched(f"{tree}/{name}"):
            return local
    local = os.path.join(work, inside)
    if os.path.isfile(local):
        return local
    raise FileNotFoundAtInputPath(_why_missing(inside, tree), path=inside)


def _fetched(path: str) -> bool:
    """Whether the computing node has put the input *path* of the job's tree into place just now."""
    if variable("INPUTS") != "lazy":
        return False
    from discomputify_core.program.agent import ask

    return ask("open", {"path": path}).get("found") is True


def _why_missing(inside: str, tree: str) -> str:
    text = f"There is no input {inside!r}: neither below {tree} nor beside main.py."
    how = variable("INPUTS")
    if os.path.isfile(os.path.join(variable("OUTPUT_PATH"), inside)):
        return text + f" It is an output of this part: read it back with program.open_output({inside!r})."
    if how not in ("all", "lazy"):
        text += f" This job was submitted with --inputs {how}, so each part gets only the inputs of its own slice."
    return text + " Look at what was uploaded with 'discomputify submit DIR --plan'."


def _open_below_output(inside: str, mode: str, options: dict[str, Any]) -> IO[Any]:
    outputs = variable("OUTPUT_PATH")
    tree = os.path.relpath(outputs, variable("WORK_PATH")).replace(os.sep, "/")
    if inside.startswith(tree + "/"):
        inside = inside[len(tree) + 1 :]
    wrong = fault(inside) if any(letter in mode for letter in "wax+") else ""
    if wrong:
        raise CanNotOpenFileAtOutputPath(
            f"The output {inside!r} could not be kept under that name: {wrong}. Choose another one.", path=inside
        )
    local = os.path.join(outputs, inside)
    try:
        try:
            return open(local, mode, **options)
        except FileNotFoundError:
            if "r" in mode:
                raise
            os.makedirs(os.path.dirname(local), exist_ok=True)
            return open(local, mode, **options)
    except FileNotFoundError as error:
        raise FileNotFound(f"This part has written no output {inside!r}.", path=inside) from error
    except OSError as error:
        raise CanNotOpenFileAtOutputPath(
            f"The output {inside!r} cannot be opened with mode {mode!r}: {error.strerror or error}.", path=inside
        ) from error
