"""Where things are under FTP_BASE_PATH. Pure: names only, nothing here touches a disk.

::

    blobs/blake3/ab/ab12…    a blob, complete and verified, never changed
    jobs/JOB/TREE            which manifest is that tree of that job
    incoming/                what is not complete yet: *.part can be resumed, *.new is rubbish after a restart
    damaged/                 blobs whose bytes no longer had their digest
    old/files/               what old clients (CYPHER/1) wrote, under the names that they gave it
    old/incoming/TOP/FILE…   what of that is not complete yet: *.part, and a *.note that says which file it is
    lock                     held by the service that uses the folder

Names that come from users and peers are judged here before they become names of files. JOB and TREE are the
names themselves where those are lower case and plain; others get a hash, since ``A`` and ``a`` are one file
on some systems.
"""

from __future__ import annotations

import re

from blake3 import blake3

from discomputify_core.errors import BadInput, BadPath
from discomputify_core.model.files import check_digest
from discomputify_core.model.ids import check_process_id, reserved_on_windows

ALGORITHM = "blake3"
BLOBS, JOBS, INCOMING, DAMAGED, LOCK = "blobs", "jobs", "incoming", "damaged", "lock"
OLD_FILES, OLD_INCOMING = "old/files", "old/incoming"
PART, NEW, NOTE = ".part", ".new", ".note"
#: Most bytes in the name of a tree.
MAX_TREE_NAME = 512
#: Digits of a digest.
HEX = 64

_PLAIN = re.compile(r"[a-z0-9_][a-z0-9._-]{0,199}", re.ASCII)
_NOT_PLAIN = re.compile(r"[^a-z0-9._-]", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def hex_of(digest: str) -> str:
    """The hexadecimal part of *digest*.

    Raises:
        BadPath: it is not a digest of this store's algorithm.
    """
    algorithm, _, digits = check_digest(digest).partition(":")
    if algorithm != ALGORITHM or len(digits) != HEX:
        raise BadPath(f"{digest[:80]!r} is not a digest of this store, which uses {ALGORITHM}.", path=digest[:80])
    return digits


def blob_file(digest: str) -> str:
    """Where the blob *digest* is."""
    digits = hex_of(digest)
    return f"{BLOBS}/{ALGORITHM}/{digits[:2]}/{digits}"


def part_file(digest: str, size: int) -> str:
    """Where a blob of *size* bytes grows while it arrives in chunks."""
    return f"{INCOMING}/{hex_of(digest)}-{size}{PART}"


def new_file(token: str) -> str:
    """A file to be written and renamed at once."""
    return f"{INCOMING}/{token}{NEW}"


def damaged_file(digest: str, token: str) -> str:
    """Where a damaged blob is put aside."""
    return f"{DAMAGED}/{hex_of(digest)}-{token}"


def old_names(path: str) -> tuple[str, str]:
    """The names TOP and FILE of an incomplete file of an old client: hashes of its top folder and of its *path*."""
    return _short_hash(path.partition("/")[0]), _short_hash(path)


def old_top(top: str) -> str:
    """Where files grow that old clients write below the top folder *top*."""
    return f"{OLD_INCOMING}/{_short_hash(top)}"


def old_part(path: str) -> str:
    """Where the file *path* of an old client grows."""
    return f"{OLD_INCOMING}/{'/'.join(old_names(path))}{PART}"


def old_note(path: str) -> str:
    """Where it is written that *path* is growing, and how long it will be."""
    return f"{OLD_INCOMING}/{'/'.join(old_names(path))}{NOTE}"


def job_folder(process_id: str) -> str:
    """Where the trees of a job are.

    Raises:
        BadInput: *process_id* may not be one.
    """
    return f"{JOBS}/{_file_name(check_process_id(process_id))}"


def tree_file(process_id: str, tree: str) -> str:
    """Where it is written which manifest is *tree* of a job.

    Raises:
        BadInput: one of the names may not be used.
    """
    return f"{job_folder(process_id)}/{_file_name(check_tree(tree))}"


def check_tree(name: str) -> str:
    """*name* if it may be the name of a tree.

    Raises:
        BadInput: it is empty, too long, or not plain text.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= MAX_TREE_NAME or _CONTROL.search(name):
        raise BadInput(f"{name[:80]!r} cannot be the name of a tree: 1 to {MAX_TREE_NAME} bytes of plain text can.")
    return name


def _file_name(text: str) -> str:
    if _PLAIN.fullmatch(text) and not text.endswith(".") and not reserved_on_windows(text):
        return text
    # "~" is in no plain name, so that a hashed name is never another name's plain one.
    shown = _NOT_PLAIN.sub("_", text.lower())[:60].rstrip(".")
    return f"{_short_hash(text)}~{shown}"


def _short_hash(text: str) -> str:
    return blake3(text.encode()).hexdigest()[:32]
