"""Why a program ended badly, in a sentence: from its exit code or signal and the end of its stderr. Pure."""

from __future__ import annotations

import errno
import re
import signal as signals
from itertools import pairwise

import attrs

#: Import names whose package has another name.
PACKAGES = {
    "DISCOMPUTIFY": "discomputify-legacy",
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "discomputify_core": "discomputify-core",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}

_RAISED = re.compile(r"(?:[^\W\d]\w*\.)*([^\W\d]\w*)(?:: (.*))?")
_ERROR = re.compile(r"\w*(Error|Exception|Interrupt)")
_NO_MODULE = re.compile(r"No module named '?([\w.]+)'?")
_PLACE = re.compile(r'\s*File "([^"]+)", line (\d+)')
_FULL = re.compile(rf"\[Errno (?:{errno.ENOSPC}|{errno.EDQUOT})\]")
_SIGNAL_HINTS = {
    "SIGKILL": "Something killed it: often the system, because memory ran out",
    "SIGSEGV": "It touched memory that is not its own: usually a bug in a compiled module",
    "SIGABRT": "It gave up by itself: usually a compiled module found something wrong",
    "SIGILL": "It met an instruction that this CPU does not have: usually a module built for another CPU",
    "SIGBUS": "It could not reach memory: often a full disk or a file that got shorter",
}


@attrs.frozen
class Diagnosis:
    """Why a part failed."""

    #: One or two sentences; the first one says what the part did, and does not name it.
    reason: str
    #: The module that could not be imported, or "".
    missing_module: str = ""


def diagnose(
    *,
    code: int = 0,
    signal: int = 0,
    stderr_tail: str = "",
    python: str = "",
    interpreter: str = "",
    folder: str = "",
) -> Diagnosis:
    """Why a part failed, as what its program did: whoever shows it names the part and the node.

    Args:
        code: exit code, if it ended by itself.
        signal: number of the signal that ended it, or 0.
        stderr_tail: the last lines of its stderr.
        python: version of the interpreter that ran it.
        interpreter: path of that interpreter.
        folder: where the work folders of that node are.
    """
    if signal:
        name = _signal_name(signal)
        hint = _SIGNAL_HINTS.get(name)
        return Diagnosis(f"was ended by {name}" + (f". {hint}." if hint else ""))
    kind, message = _last_error(stderr_tail)
    if kind in ("ModuleNotFoundError", "ImportError") and (found := _NO_MODULE.search(message)):
        return _missing(found[1], python, interpreter)
    if kind in ("SyntaxError", "IndentationError", "TabError"):
        return Diagnosis(f"failed under python {python} with {kind}: {message}{_where(stderr_tail)}")
    if kind.endswith("MemoryError"):
        return Diagnosis(
            f"ran out of memory ({kind}). "
            "Submit with --memory, so that fewer parts share a node, or with more and smaller parts."
        )
    if kind:
        said = f"{kind}: {message}" if message else kind
        full = f". Work folders there are in {folder}: make room." if folder and _FULL.match(message) else ""
        return Diagnosis(f"failed with {said} (exit code {code}){full}")
    return Diagnosis(f"ended with exit code {code}")


def _missing(module: str, python: str, interpreter: str) -> Diagnosis:
    top = module.partition(".")[0]
    return Diagnosis(
        f"failed under python {python} at {interpreter}: No module named '{module}'. "
        f"Install it there: {interpreter} -m pip install {PACKAGES.get(top, top)} "
        f"(or, if '{top}' is your own, put it beside main.py).",
        top,
    )


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_error(stderr: str) -> tuple[str, str]:
    """Name and message of the last exception that is printed, or two empty texts."""
    lines = ["", *stderr.splitlines()]
    for before, line in reversed(list(pairwise(lines))):
        found = _RAISED.fullmatch(line.rstrip())
        # It stands below the indented lines that say where; of a tail that was cut there may be none.
        if found and (before.startswith("  ") or _ERROR.fullmatch(found[1])):
            return found[1], (found[2] or "")[:300]
    return "", ""


def _where(stderr: str) -> str:
    places = _PLACE.findall(stderr)
    if not places:
        return ""
    file, line = places[-1]
    name = re.split(r"[/\\]", file)[-1]
    return f" ({name}, line {line})"
