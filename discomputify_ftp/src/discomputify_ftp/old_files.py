"""What old clients (CYPHER/1) write: each file appears whole or not at all, whatever comes twice, late or never.

Blocking: runs in threads, any number at once; one lock lets a single change at a time happen, none of which takes long.
Not here: what is complete (old_tree.py), what is not (old_parts.py), trees of jobs (keeper.py).
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from discomputify_core.errors import BadInput, DiskError, NoSuchTree, StoreFull
from discomputify_core.model.ids import check_process_id
from discomputify_ftp import layout
from discomputify_ftp.blobs import Blobs
from discomputify_ftp.disk import WHOSE, naming, remove, write_new
from discomputify_ftp.old_parts import OldParts, Part, differs
from discomputify_ftp.old_requests import ALL, Chunk, top_of
from discomputify_ftp.old_tree import FILE_MODE, Kind, OldTree

#: Files that are remembered as lacking; of more, the oldest are forgotten.
MOST_LACKING = 10_000


class OldFiles:
    """The files that were written, complete and incomplete ones."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        #: The complete ones.
        self.tree = OldTree(blobs.base / layout.OLD_FILES)
        self._parts = OldParts(blobs.base)
        self._changing = threading.Lock()
        #: Files of which a piece was refused, or could not be kept, though their client goes on; the latest last.
        self._lacking: dict[str, None] = {}

    def write(self, path: str, chunk: Chunk) -> None:
        """Add a chunk to a file, which appears once it is complete, over what had that name until then.

        A chunk that does not say where it belongs is added at the end of what is there, and appears at once.

        Raises:
            BadInput: there can be no such file, or the chunk does not fit what is there.
            DiskError: it cannot be written.
        """
        if path == ALL:
            raise BadInput("A file needs a name; the PATH of this one is empty.")
        with self._changing:
            self.tree.check_file(path)
            try:
                if chunk.size is None:
                    self._append(path, chunk)
                else:
                    self._place(path, chunk, chunk.size)
            except (DiskError, StoreFull):
                self._lack(path)
                raise

    def miss(self, path: str, chunk: Chunk) -> None:
        """A chunk of a file came and must not be written: unless it is there, the file is lacking until it comes anew.

        Raises:
            BadInput: there can be no such file.
            DiskError: the disk cannot be read.
        """
        if path == ALL:
            return
        with self._changing:
            self.tree.check_file(path)
            try:
                self._compare(path, chunk, len(chunk.data) if chunk.size is None else chunk.size)
            except BadInput:
                self._lack(path)

    def _lack(self, path: str) -> None:
        self._lacking.pop(path, None)
        self._lacking[path] = None
        if len(self._lacking) > MOST_LACKING:
            del self._lacking[next(iter(self._lacking))]

    def _append(self, path: str, chunk: Chunk) -> None:
        if not chunk.first:
            self.tree.append(path, chunk.data)
            return
        new = self._blobs.new_path()
        with naming(new, WHOSE):
            write_new(new, chunk.data, FILE_MODE)
        self._adopt(new, path)

    def _place(self, path: str, chunk: Chunk, size: int) -> None:
        part = self._parts.begin(path, size) if chunk.first else self._parts.find(path)
        if part is None:
            self._compare(path, chunk, size)
            return
        self._parts.put(part, chunk)
        if chunk.last:
            self._adopt(self._parts.file(path), path)

    def _adopt(self, new: Path, path: str) -> None:
        try:
            self.tree.adopt(new, path)
        except BaseException:
            if new.suffix == layout.NEW:
                remove(new)
            raise
        self._parts.forget(path)
        self._lacking.pop(path, None)

    def _compare(self, path: str, chunk: Chunk, size: int) -> None:
        """A chunk came of a file that is not growing: fine if the file is complete and has it."""
        data, held = b"", -1
        if self.tree.kind(path) is Kind.FILE:
            data, held = self.tree.read(path, chunk.offset, len(chunk.data))
        if held != size:
            raise BadInput(f"The beginning of {path!r} is missing. Upload the file again.")
        if data != chunk.data:
            raise differs(path, chunk.offset)

    def remove(self, path: str) -> bool:
        """Remove a file, or a folder with all that is in it; returns whether there was anything.

        Raises:
            DiskError: it cannot be removed.
        """
        aside = self._blobs.new_path()
        with self._changing:
            complete = self.tree.kind(path) in (Kind.FILE, Kind.FOLDER)
            if complete:
                with naming(self.tree.place(path), WHOSE):
                    self.tree.place(path).rename(aside)
            parts = self._parts.below(path)
            for part in parts:
                self._parts.forget(part.path)
            lacking = [each for each in self._lacking if each == path or each.startswith(path + "/")]
            for each in lacking:
                del self._lacking[each]
        if complete and not remove(aside):
            shutil.rmtree(aside, ignore_errors=True)
        return complete or bool(parts) or bool(lacking)

    def clear(self, process_id: str) -> None:
        """Remove all that was written below the top folder of a job.

        Raises:
            DiskError: it cannot be removed.
        """
        self.remove(check_process_id(process_id))
        with self._changing:
            self._parts.forget_top(process_id)

    def complete(self, process_id: str) -> list[str]:
        """The paths of the files below the top folder of a job.

        Raises:
            NoSuchTree: there are none.
            BadInput: one is incomplete or lacking; names it.
        """
        with self._changing:
            parts = self._parts.below(check_process_id(process_id))
            lacking = [path for path in self._lacking if top_of(path) == process_id]
        if parts:
            raise BadInput(f"{parts[0]}. Upload it again, or delete it.", path=parts[0].path)
        if lacking:
            raise BadInput(
                f"{lacking[0]!r} did not arrive: the service was started again, or its disk failed, meanwhile. "
                "Upload it again, or delete it.",
                path=lacking[0],
            )
        paths = self.tree.files(process_id) if self.tree.kind(process_id) is Kind.FOLDER else []
        if not paths:
            raise NoSuchTree(f"Old clients have written no files for {process_id}.", process_id=process_id)
        return paths

    def forget_old(self) -> list[Part]:
        """Remove incomplete files that nobody has continued for a day; returns them."""
        with self._changing:
            return self._parts.forget_old()
