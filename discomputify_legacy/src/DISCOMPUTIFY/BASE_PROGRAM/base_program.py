"""``from DISCOMPUTIFY.BASE_PROGRAM.base_program import *``: what an old main.py works with, over the program API.

Every part pays for this import: nothing here imports more than that API and what the star has always brought along.
"""

from __future__ import annotations

# pathlib would cost every part milliseconds.
# ruff: noqa: PTH118, PTH123
import json
import os
import sys
import time

from DISCOMPUTIFY.defaults import default_conf
from discomputify_core import program
from discomputify_core.program import (
    CanNotGoUpInDirectory,
    CanNotOpenFileAtOutputPath,
    FileNotFound,
    FileNotFoundAtInputPath,
    ProgramError,
)

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO, Any, ClassVar

__all__ = [
    "UTILITY",
    "CanNotGoUpInDirectory",
    "CanNotOpenFileAtOutputPath",
    "FileNotFound",
    "FileNotFoundAtInputPath",
    "UtilityClassNotInitialized",
    "json",
    "os",
    "sys",
    "time",
]

_CONF_NAME = "discomputify_conf.json"


class UtilityClassNotInitialized(ProgramError):
    """UTILITY was used before it knew its part."""

    def __init__(self, message: str = "", **fields: Any) -> None:
        super().__init__(message or "Call UTILITY.set_params(sys.argv) before anything else of UTILITY.", **fields)


class NoSuchOutput(FileNotFound, CanNotOpenFileAtOutputPath):
    """An output to be read back that this part has not written: what the old documentation and the API call it."""


class UTILITY:
    """This part: which one it is, its inputs, its outputs. Everything is told to the class, not to instances."""

    #: The conf, without the cluster's keys; None until it has been loaded.
    CONF: ClassVar[dict[str, Any] | None] = None
    PART: ClassVar[int]
    TOTAL_PARTS: ClassVar[int]
    PROGRAM_NAME_PROCESS_ID: ClassVar[str]

    @classmethod
    def initialized(cls) -> bool:
        """Whether :meth:`set_params` or :meth:`load_conf` was called."""
        return cls.CONF is not None

    @classmethod
    def set_params(cls, params: Sequence[str]) -> None:
        """Begin: take over which part this is.

        Args:
            params: ``sys.argv``: main.py, PART, TOTAL_PARTS, PROCESS_ID.

        Raises:
            ProgramError: they are not that, or not what the computing node said.
            NotInAPart: this process is not a part of a job.
        """
        given = tuple(params[1:4])
        if len(given) != 3:
            raise ProgramError(
                f"UTILITY.set_params() takes sys.argv (main.py PART TOTAL_PARTS PROCESS_ID), not {list(params)!r:.200}."
            )
        part, total, process_id = program.part(), program.total_parts(), program.process_id()
        if tuple(map(str, given)) != (str(part), str(total), process_id):
            raise ProgramError(
                f"UTILITY.set_params() was told {' '.join(map(str, given))!r:.200}, but this is part {part} of {total} "
                f"of '{process_id}'. Give it sys.argv as it is."
            )
        cls.load_conf()
        cls.PART, cls.TOTAL_PARTS, cls.PROGRAM_NAME_PROCESS_ID = part, total, process_id

    @classmethod
    def load_conf(cls) -> None:
        """Read CONF from the part's discomputify_conf.json, which has no keys; where there is none, the defaults.

        Raises:
            ProgramError: it is no conf.
        """
        path = os.path.join(os.environ.get("DISCOMPUTIFY_WORK_PATH", ""), _CONF_NAME)
        try:
            with open(path, encoding="utf-8-sig") as file:
                found = json.load(file)
        except FileNotFoundError:
            found = {}
        except (OSError, ValueError) as error:
            raise ProgramError(f"'{path}' cannot be read as a conf: {error}.", path=path) from error
        if not isinstance(found, dict):
            raise ProgramError(f"'{path}' is no conf: it is not a JSON object.", path=path)
        cls.CONF = {**default_conf(), **found}

    @classmethod
    def part(cls) -> int:
        """Which part of the job this is, from 1.

        Raises:
            UtilityClassNotInitialized: nobody called :meth:`set_params`.
        """
        if not hasattr(cls, "PART"):
            raise UtilityClassNotInitialized
        return cls.PART

    @classmethod
    def total_parts(cls) -> int:
        """How many parts the job has.

        Raises:
            UtilityClassNotInitialized: nobody called :meth:`set_params`.
        """
        if not hasattr(cls, "TOTAL_PARTS"):
            raise UtilityClassNotInitialized
        return cls.TOTAL_PARTS

    @classmethod
    def open_file(cls, path: str, mode: str = "r", **options: Any) -> IO[Any]:
        """Open an input (a mode with ``r``; it is never changed, also not with ``+``), else an output.

        Args:
            path: inside INPUT_PATH or OUTPUT_PATH, without ``..``.
            mode: as for the built-in ``open``.
            **options: as for the built-in ``open``.

        Raises:
            UtilityClassNotInitialized: nobody called :meth:`set_params`.
            CanNotGoUpInDirectory: the path has ``..`` in it or is absolute.
            FileNotFoundAtInputPath: there is no such input.
            CanNotOpenFileAtOutputPath: the output cannot be opened.
        """
        cls._check_initialized()
        # "r" has always decided before "+".
        return program.open(path, mode.replace("+", "") if "r" in mode else mode, **options)

    def read_from_output(self, path: str) -> IO[str]:
        """Open a text file that this part has written, to read it back.

        Raises:
            UtilityClassNotInitialized: nobody called :meth:`set_params`.
            CanNotGoUpInDirectory: the path has ``..`` in it or is absolute.
            CanNotOpenFileAtOutputPath: it cannot be opened; also a FileNotFound where it is not there.
        """
        self._check_initialized()
        try:
            return program.open_output(path)
        except FileNotFound as error:
            raise NoSuchOutput(str(error), **error.fields) from error

    @classmethod
    def _check_initialized(cls) -> None:
        if not cls.initialized():
            raise UtilityClassNotInitialized
