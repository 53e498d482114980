"""Paths, digests and manifests: what a tree of files is, and the one place where paths are judged.

No path that comes from a user, a peer or a manifest touches a disk before :func:`check_path`
has seen it. Nothing here opens a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NewType

import attrs

from discomputify_core.errors import BadPath
from discomputify_core.model.ids import reserved_on_windows

Digest = NewType("Digest", str)
"""``ALGORITHM:LOWER-CASE-HEX`` of a blob's bytes, for instance ``blake3:af13…``."""

MAX_PATH = 1024
MAX_COMPONENT = 255

_DIGEST = re.compile(r"[a-z0-9]{2,16}:[0-9a-f]{32,128}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_DRIVE = re.compile(r"[A-Za-z]:")


def check_path(path: str) -> str:
    """*path* if it may name something inside a tree: relative, ``/`` between its parts, no ``..``.

    Refused, each with the path named: empty, absolute, a drive, ``.`` or ``..`` as a component,
    backslashes and control characters, names that are not text, components that are Windows devices or
    end in a space or dot, components over 255 bytes, paths over 1024 bytes.

    Raises:
        BadPath: says why.
    """
    why = _fault(path)
    if why:
        raise BadPath(f"The path {path!r} may not be used: {why}.", path=path.encode(errors="replace").decode())
    return path


def _fault(path: str) -> str:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "its name is not valid text (UTF-8)"
    if not path:
        return "it is empty"
    if size > MAX_PATH:
        return f"it is longer than {MAX_PATH} bytes"
    if path.startswith("/") or _DRIVE.match(path):
        return "it is absolute"
    if _CONTROL.search(path):
        return "it has a backslash or a control character in it"
    for name in path.split("/"):
        if name in ("", "."):
            return "it has an empty component"
        if name == "..":
            return "it goes up with '..'"
        if len(name) > MAX_COMPONENT // 4 and len(name.encode()) > MAX_COMPONENT:
            return f"a component is longer than {MAX_COMPONENT} bytes"
        if name.endswith((" ", ".")):
            return "a component ends in a space or a dot"
        if reserved_on_windows(name):
            return f"{name!r} is a reserved name"
    return ""


def check_digest(text: str) -> Digest:
    """*text* if it has the form of a digest.

    Raises:
        BadPath: otherwise (a digest becomes a file name in every store).
    """
    if not _DIGEST.fullmatch(text):
        raise BadPath(f"{text[:80]!r} is not a digest such as 'blake3:…'.", path=text[:80])
    return Digest(text)


@attrs.frozen
class Entry:
    """One file or empty folder of a tree."""

    path: str
    #: Size in bytes; 0 for a folder.
    size: int = 0
    #: Digest of the bytes; "" for a folder.
    digest: str = ""
    executable: bool = False
    folder: bool = False

    def __attrs_post_init__(self) -> None:
        check_path(self.path)
        if self.folder:
            if self.size or self.digest:
                raise BadPath(f"The folder {self.path!r} has a size or a digest.", path=self.path)
        else:
            check_digest(self.digest)
            if self.size < 0:
                raise BadPath(f"The file {self.path!r} has a negative size.", path=self.path)


def _sorted(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.path))


@attrs.frozen
class Manifest:
    """A tree: its entries by path, each path once, no file used as a folder.

    Folders are listed only where they are empty.

    Raises:
        BadPath: two entries collide.
    """

    entries: tuple[Entry, ...] = attrs.field(converter=_sorted)

    def __attrs_post_init__(self) -> None:
        files = set()
        paths = set()
        for entry in self.entries:
            if entry.path in paths:
                raise BadPath(f"The path {entry.path!r} is listed twice.", path=entry.path)
            paths.add(entry.path)
            if not entry.folder:
                files.add(entry.path)
        for path in paths:
            up = path.rpartition("/")[0]
            while up:
                if up in files:
                    raise BadPath(f"{up!r} is both a file and a folder.", path=path)
                up = up.rpartition("/")[0]

    @property
    def files(self) -> tuple[Entry, ...]:
        """The entries that are files."""
        return tuple(entry for entry in self.entries if not entry.folder)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)

    def under(self, folder: str) -> Manifest:
        """The entries below *folder*, with paths relative to it."""
        start = folder.rstrip("/") + "/"
        return Manifest(
            attrs.evolve(entry, path=entry.path[len(start) :]) for entry in self.entries if entry.path.startswith(start)
        )

    def to_rows(self) -> list[list[Any]]:
        """Compact plain form: ``[path, size, digest, flags]``; flags: 1 executable, 2 folder."""
        return [[e.path, e.size, e.digest, e.executable | e.folder << 1] for e in self.entries]

    @classmethod
    def from_rows(cls, rows: Any) -> Manifest:
        """The manifest that :meth:`to_rows` wrote.

        Raises:
            BadPath: *rows* is not one.
        """
        try:
            return cls(_entry(*row) for row in rows)
        except (TypeError, ValueError) as error:
            raise BadPath(f"A manifest cannot be read: {error}.", path="") from error


def _entry(path: Any, size: Any, digest: Any, flags: Any) -> Entry:
    if (type(path), type(size), type(digest), type(flags)) != (str, int, str, int) or not 0 <= flags <= 3:
        raise TypeError("an entry is a path, a size, a digest and flags from 0 to 3")
    return Entry(path, size, digest, bool(flags & 1), bool(flags & 2))
