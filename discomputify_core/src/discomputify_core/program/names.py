"""Which names an output may have: those that every store and every system can keep.

The rules are those of ``model.files.check_path``, written again without its imports; a test holds both to the same.
"""

from __future__ import annotations

#: Bytes of a whole path, less what the tree in the store puts before it; bytes of a name in it.
MAX_PATH, MAX_NAME = 1024 - len("outputs/"), 255

_DEVICES = frozenset(["con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))])


def fault(path: str) -> str:
    """Why no output may be called *path* (relative, ``/`` between its names, no ``..``); "" if one may."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "its name is not valid text (UTF-8)"
    if size > MAX_PATH:
        return f"its path is longer than {MAX_PATH} bytes"
    if len(path) > 1 and path[1] == ":" and path[0].isascii() and path[0].isalpha():
        return "it begins like a drive of Windows"
    if any(char < " " or char in "\x7f\\" for char in path):
        return "it has a backslash or a control character in it"
    return next(filter(None, map(_name_fault, path.split("/"))), "")


def _name_fault(name: str) -> str:
    if len(name.encode()) > MAX_NAME:
        return f"a name in it is longer than {MAX_NAME} bytes"
    if name.endswith((" ", ".")):
        return f"the name {name!r} ends in a space or a dot"
    if name.split(".")[0].rstrip(" ").lower() in _DEVICES:
        return f"{name!r} is a name that Windows keeps for itself"
    return ""
