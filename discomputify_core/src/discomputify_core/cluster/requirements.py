"""What jobs require of nodes: ``numpy>=2``, ``python==3.12``; and what nodes lack of it, in sentences.

Names are compared as packages are named (PEP 503), versions as PEP 440 orders them. ``python`` is the interpreter that
runs parts; ``python==3.12`` means any 3.12. Nothing is installed: nodes say what they have. Not here: which nodes that
keeps from a job's parts (capacity.py).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from discomputify_core.errors import BadInput
from discomputify_core.model.node import NodeFacts

if TYPE_CHECKING:  # costs every master and node time to import, and few jobs require anything
    from packaging.specifiers import Specifier, SpecifierSet
    from packaging.version import Version

#: The name by which the interpreter is required.
PYTHON = "python"
#: Most characters of a requirement, and most requirements of a job.
MAX_TEXT, MAX_COUNT = 500, 1000
#: Most nodes, and most requirements, that are named in one sentence.
NAMED = 5


@attrs.frozen
class Requirement:
    """One requirement, understood."""

    #: As it is shown: ``numpy>=2``.
    text: str
    #: Canonical.
    name: str
    versions: SpecifierSet

    def met_by(self, version: str) -> bool:
        """Whether *version* ("": none, or nobody knows) will do. One that nobody can order will only if any does."""
        found = _version(version) if version else None
        # What is installed is installed, be it a release or not.
        fits = found is not None and self.versions.contains(found, prereleases=True)
        return bool(version) and (fits or not self.versions)


@attrs.frozen
class Lack:
    """What one node does not have as it is required."""

    #: The requirement.
    text: str
    #: What it has in its place: ``numpy 1.26``, ``none``.
    has: str


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Requirement:
    """*text* as a requirement.

    Raises:
        BadInput: it is none, or one that cannot be checked by what nodes say of themselves.
    """
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed

    shown = repr(text if len(text) <= 60 else text[:60] + "…")
    if len(text) > MAX_TEXT:
        raise BadInput(f"The requirement {shown} has {len(text)} characters; at most {MAX_TEXT} are allowed.")
    try:
        found = Parsed(text)
    except InvalidRequirement as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise BadInput(
            f"{shown} is no requirement ({why}). Write a package and the versions that will do, such as 'numpy>=2'."
        ) from error
    if found.url:
        raise BadInput(
            f"The requirement {shown} names a place to install from, but nothing is installed on nodes. "
            f"Require a version, such as '{found.name}>=1'."
        )
    if found.extras:
        raise BadInput(
            f"The requirement {shown} asks for extras, of which nodes do not tell. "
            "Require the packages that these bring by their own names."
        )
    if found.marker:
        raise BadInput(
            f"The requirement {shown} holds only on some machines ({found.marker}), which cannot be checked. "
            "Leave out what comes after the ';'."
        )
    name = canonical(found.name)
    versions = _any_patch(found.specifier) if name == PYTHON else found.specifier
    return Requirement("".join(text.split()), name, versions)


@functools.lru_cache(maxsize=65536)
def canonical(name: str) -> str:
    """The one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def check(require: Sequence[str]) -> None:
    """Whether all of *require* are requirements.

    Raises:
        BadInput: one is not, or there are too many.
    """
    if len(require) > MAX_COUNT:
        raise BadInput(f"A job may have {MAX_COUNT} requirements; these are {len(require)}.")
    for text in require:
        parse(text)


def lacking(facts: NodeFacts, require: Sequence[str]) -> tuple[Lack, ...]:
    """What a node lacks of *require*."""
    wanted = [parse(text) for text in require]
    installed: dict[str, str] = {}
    if any(each.name not in facts.packages for each in wanted):
        installed = {canonical(name): version for name, version in facts.packages.items()}
    found = []
    for each in wanted:
        python = each.name == PYTHON
        has = facts.python if python else facts.packages.get(each.name, installed.get(each.name, ""))
        if not each.met_by(has):
            what = "Python" if python else each.name
            found.append(Lack(each.text, f"{what} {has}" if has else "none"))
    return tuple(found)


def nobody_has(lacks: Sequence[tuple[str, Sequence[Lack]]]) -> str:
    """What no node has, in a sentence; "" if some node has each.

    Args:
        lacks: nodes by name, and what each lacks.
    """
    if not lacks or not all(each for _, each in lacks):
        return ""
    common = [each.text for each in lacks[0][1] if all(_has(other, each.text) for _, other in lacks)]
    return _listed([f"no node has {text}: {_named(lacks, text)}" for text in common])


def some_lack(lacks: Sequence[tuple[str, Sequence[Lack]]]) -> str:
    """What some nodes lack, in a sentence; "" if none does. *lacks*: as of :func:`nobody_has`."""
    texts = dict.fromkeys(lack.text for _, each in lacks for lack in each)
    return _listed([f"not every node has {text}: {_named(lacks, text)}" for text in texts])


def _listed(said: Sequence[str]) -> str:
    more = len(said) - NAMED
    return "; ".join(said[:NAMED]) + (f"; and {more} more of what is required" if more > 0 else "")


def _named(lacks: Sequence[tuple[str, Sequence[Lack]]], text: str) -> str:
    """``a has numpy 1.26, b has none (and 3 more nodes)``."""
    said = [f"{name} has {has}" for name, each in lacks if (has := _has(each, text))]
    more = len(said) - NAMED
    return ", ".join(said[:NAMED]) + (f" (and {more} more node{'s' if more > 1 else ''})" if more > 0 else "")


def _has(lacks: Sequence[Lack], text: str) -> str:
    return next((each.has for each in lacks if each.text == text), "")


def _any_patch(versions: SpecifierSet) -> SpecifierSet:
    """Of Python, ``==3.12`` means every 3.12, as ``==3.12.*`` does."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(",".join(_prefix(each) for each in versions))


def _prefix(specifier: Specifier) -> str:
    version = _version(specifier.version)
    short = version is not None and len(version.release) < 3 and str(version) == version.base_version
    return f"{specifier}.*" if specifier.operator in ("==", "!=") and short else str(specifier)


def _version(text: str) -> Version | None:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text.rstrip("+"))  # a Python that was built between two releases ends in "+"
    except InvalidVersion:
        return None
