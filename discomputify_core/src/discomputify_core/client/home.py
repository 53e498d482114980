"""The folder ``OUT/PROCESS_ID`` that outputs come home to: whose it is, and making it.

A mark in it says which job its contents came from, so that outputs of two jobs are never mixed. Not here: what is
put into it (fetching.py).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from discomputify_core.edge.trees import JOB_MARK
from discomputify_core.errors import BadInput, DiskError
from discomputify_core.model.job import JobStatus


def look(folder: Path) -> None:
    """Find out whether *folder* can be such a home, before anything is uploaded; changes nothing.

    Raises:
        BadInput: it holds something else, which a fetch would mix with outputs.
        DiskError: it cannot be made, or nothing can be written there.
    """
    try:
        _check_free(folder)
        near = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        if not near.is_dir():
            raise DiskError(f"Outputs cannot be written to '{folder}': '{near}' is a file.", path=str(folder))
        # What os.access says is not always so (read-only mounts, /proc): a folder that can be made is proof.
        trial = near / f".discomputify-{os.getpid()}"
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        raise _disk_error(folder, error) from error


def prepare(folder: Path, status: JobStatus, *, logs: bool = True) -> bool:
    """Make *folder* the home of the job's outputs; what an earlier job of that id left there is removed.

    Args:
        logs: whether logs come home too, into a folder of their own.

    Returns:
        Whether something was removed.

    Raises:
        BadInput, DiskError: as :func:`look`.
    """
    identity = f"{status.process_id} {status.submitted_at:.6f} {status.tree}\n"
    mark = folder / JOB_MARK
    replaced = False
    try:
        _check_free(folder)
        if mark.exists() and mark.read_text(encoding="utf-8", errors="replace") != identity:
            for old in list(_fetched(folder)):
                replaced = True
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        (folder / "logs" if logs else folder).mkdir(parents=True, exist_ok=True)
        mark.write_text(identity, encoding="utf-8")
    except OSError as error:
        raise _disk_error(folder, error) from error
    return replaced


def keep_only(folder: Path, parts: Collection[int]) -> list[int]:
    """Remove what was fetched of other parts than *parts*, which had to start again after they were done.

    Returns:
        The parts whose outputs were removed.

    Raises:
        DiskError: it cannot be removed.
    """
    removed = []
    try:
        for each in list(folder.iterdir()):
            found = re.fullmatch(re.escape(folder.name) + r"_(\d+)_\d+", each.name)
            if found and int(found[1]) not in parts:
                shutil.rmtree(each)
                removed.append(int(found[1]))
    except OSError as error:
        raise _disk_error(folder, error) from error
    for part in removed:
        remove_collected(folder, part)
    return removed


def remove_collected(folder: Path, part: int) -> None:
    """Remove what an earlier attempt of *part* left outside its outputs, if anything.

    Raises:
        DiskError: it cannot be removed.
    """
    try:
        shutil.rmtree(folder / "collected" / str(part))
    except FileNotFoundError:
        return
    except OSError as error:
        raise _disk_error(folder, error) from error


def _check_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise BadInput(
            f"'{folder}' is a file; outputs would go into a folder of that name. "
            f"Choose another folder for outputs (--out)."
        )
    if folder.is_dir() and not (folder / JOB_MARK).exists() and any(folder.iterdir()):
        raise BadInput(
            f"The folder '{folder}' exists and does not hold outputs of an earlier fetch. "
            f"Move it away, or choose another folder for outputs (--out) or another process id."
        )


def _fetched(folder: Path) -> Iterator[Path]:
    """What fetches put into *folder*; anything else there is the user's own and stays."""
    part = re.compile(re.escape(folder.name) + r"_\d+_\d+")
    yield from (each for each in folder.iterdir() if part.fullmatch(each.name))
    for inner, name in (("logs", r"\d+\.(out|err)"), ("collected", r"\d+")):
        if (folder / inner).is_dir():
            yield from (each for each in (folder / inner).iterdir() if re.fullmatch(name, each.name))


def _disk_error(folder: Path, error: OSError) -> DiskError:
    return DiskError(f"Outputs cannot be written to '{folder}': {error.strerror}.", path=str(folder))
