"""The command ``discomputify``: its table of commands, and the one place where an error becomes an exit code.

Here: no command's own work, and no import that costs time: ``discomputify --help`` is to be quick.
"""

from __future__ import annotations

import errno
import os
import select
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TextIO

import click

from discomputify_core import __version__
from discomputify_core.cli.common import conf_option
from discomputify_core.cli.group import LazyGroup, Table
from discomputify_core.cli.output import note, safe_streams
from discomputify_core.errors import DiscomputifyError, DiskError

PROGRAM = "discomputify"
INTERRUPTED = 130
#: What writing to a full disk gives.
_FULL = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
#: What a shell shows for a program whose reader went away.
READER_GONE = 141

_CLI = "discomputify_core.cli."
COMMANDS: Table = {
    "init": (_CLI + "init:init", "Write a new conf with a fresh key."),
    "run": (_CLI + "run:run", "Run a role of this machine, or all of them."),
    "service": (_CLI + "service:service", "Print a systemd unit for a role of this machine."),
    "submit": (_CLI + "submit:submit", "Run a program directory as N parts."),
    "resubmit": (_CLI + "resubmit:resubmit", "Run the parts of an ended job that are not done, with a mended program."),
    "status": (_CLI + "jobs:status", "Show all jobs, or one."),
    "logs": (_CLI + "jobs:logs", "Show what a job's parts printed."),
    "wait": (_CLI + "jobs:wait", "Wait for a job's end."),
    "stop": (_CLI + "jobs:stop", "Stop a job."),
    "fetch": (_CLI + "jobs:fetch", "Bring a job's outputs here."),
    "clear": (_CLI + "jobs:clear", "Remove a job, or old ones, and all that is kept of it."),
    "nodes": (_CLI + "nodes:nodes", "Show the computing nodes and their load, or drain one."),
    "why": (_CLI + "inspect:why", "Say what a job or part waits for, or why it ended so."),
    "memory": (_CLI + "memory:memory", "Show what a job's parts share."),
    "doctor": (_CLI + "inspect:doctor", "Check conf, services, key, disks and versions, and say what to mend."),
    "journal": (_CLI + "journal:journal", "Look at what the master of this machine has written down."),
    "config": (_CLI + "config:config", "Check, show or describe the conf."),
    "plugins": (_CLI + "plugins:plugins", "List the installed plugins."),
}

EPILOG = """\b
Shell completion: add one of these to your shell's start-up file.
  bash   eval "$(_DISCOMPUTIFY_COMPLETE=bash_source discomputify)"
  zsh    eval "$(_DISCOMPUTIFY_COMPLETE=zsh_source discomputify)"
  fish   _DISCOMPUTIFY_COMPLETE=fish_source discomputify | source"""


class Program(LazyGroup):
    """The group whose commands' errors become sentences and exit codes."""

    def invoke(self, ctx: click.Context) -> int:
        """Run the command that the command line names; its exit code."""
        return guarded(lambda: super(Program, self).invoke(ctx))


def guarded(action: Callable[[], object]) -> int:
    """Run *action*; the exit code is what it returned (0 if that is no number), or what its error stands for."""
    try:
        result = action()
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return max(error.exit_code, 2)  # all of them are wrong usage
    except (click.Abort, KeyboardInterrupt):
        note("interrupted")
        return INTERRUPTED
    except DiscomputifyError as error:
        _trace()
        note(f"error: {error}")
        return error.exit_code
    except Exception as error:  # nothing else may end a command: the user is told, and by a sentence
        if isinstance(error, BrokenPipeError) and _reader_gone():
            return READER_GONE
        if isinstance(error, OSError) and error.filename is None and error.errno in _FULL:
            note(f"error: What this command prints cannot be written: {error.strerror}.")
            return DiskError.exit_code
        _trace()
        note(f"This is a bug in {PROGRAM} {__version__}, please report it: {_told(error)}")
        return 1
    return result if isinstance(result, int) else 0


cli = Program(
    COMMANDS,
    name=PROGRAM,
    help="Run a program directory as N parts on your own machines.",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[conf_option()],
)
click.version_option(__version__, prog_name=PROGRAM)(cli)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line *args* (those of this process) and return the exit code."""
    safe_streams()
    # The group guards its commands; this guards its own options.
    return guarded(lambda: cli.main(args, prog_name=PROGRAM, standalone_mode=False))


def _told(error: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    place = f" (at {frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    more = "" if _wants_trace() else "; DISCOMPUTIFY_TRACEBACK=1 shows more"
    return f"{type(error).__name__}: {error}{place}{more}"


def _wants_trace() -> bool:
    return os.environ.get("DISCOMPUTIFY_TRACEBACK", "") not in ("", "0")


def _trace() -> None:
    if _wants_trace():
        traceback.print_exc()


def _reader_gone() -> bool:
    """Whether a reader of our output has gone (``| head``), which is no error; what is left to write is dropped.

    A broken pipe or connection of any other kind is nothing that a command should let through.
    """
    gone = [stream for stream in (sys.stdout, sys.stderr) if _hung_up(stream)]
    for stream in gone:
        # What is still buffered has to go somewhere when Python ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    return bool(gone)


def _hung_up(stream: TextIO) -> bool:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # not a file at all
        return False
    if not hasattr(select, "poll"):  # Windows: nothing to ask, and no other pipe is likely
        return stream is sys.stdout
    asked = select.poll()
    asked.register(descriptor, 0)  # errors are always reported
    return any(found & (select.POLLERR | select.POLLHUP) for _, found in asked.poll(0))


if __name__ == "__main__":
    sys.exit(main())
