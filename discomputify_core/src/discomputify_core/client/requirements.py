"""What a program requires of nodes, from the lines of its requirements.txt and from who submits it.

Here: which lines are plain requirements (``numpy>=2``), which others are left out. Not here: what they mean for nodes
(cluster/requirements.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from discomputify_core.errors import BadInput
from discomputify_core.model.files import Manifest
from discomputify_core.model.inputs import requirements_in

NAME = "requirements.txt"
#: A comment begins a line, or follows a space; so do options, such as --hash.
_COMMENT = re.compile(r"(^|\s)#.*")
_OPTIONS = re.compile(r"\s--?[a-z].*")


def read(folder: Path, manifest: Manifest) -> str:
    """The program's requirements.txt, "" if none is among what is uploaded of it. Blocks."""
    if not any(entry.path == NAME for entry in manifest.files):
        return ""
    try:
        return (folder / NAME).read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""  # removed meanwhile: the upload says so


def plain_lines(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The plain requirements in a requirements.txt, and the lines that are none."""
    if not text:
        return (), ()
    from discomputify_core.cluster import requirements  # costs time to import, and few programs require anything

    found: list[str] = []
    others: list[str] = []
    for raw in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = _COMMENT.sub("", raw).strip()
        if not line:
            continue
        try:
            found.append(requirements.parse(_OPTIONS.sub("", line)).text)
        except BadInput:
            others.append(line)
    return tuple(dict.fromkeys(found)), tuple(others)


def required(given: Sequence[str], text: str) -> tuple[str, ...]:
    """All that nodes must have: what was *given*, and what the requirements.txt *text* says.

    Raises:
        BadInput: one of those given is no requirement.
    """
    if not given and not text:
        return ()
    from discomputify_core.cluster import requirements  # costs time to import, and few programs require anything

    shown = tuple(requirements.parse(each).text for each in given)
    together = tuple(dict.fromkeys((*shown, *plain_lines(text)[0])))
    requirements.check(together)
    return together


def required_again(before: Sequence[str], packages: Sequence[str], text: str) -> tuple[str, ...]:
    """What nodes must have for a program that takes the place of another one, whose requirements.txt named *packages*.

    Args:
        before: what they had to have for that one.
        text: the new requirements.txt.
    """
    if not before:
        return required((), text)
    from discomputify_core.cluster import requirements  # costs time to import, and few programs require anything

    given = [each for each in before if requirements.parse(each).name not in packages]
    return required(given, text)


def packages_in(text: str) -> tuple[str, ...]:
    """The names of the packages in a requirements.txt, for noticing nodes that differ."""
    return requirements_in(text)
