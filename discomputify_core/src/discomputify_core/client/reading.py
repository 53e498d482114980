"""Reading what a client needs: program directories here, small files in the store. Not here: sending anything."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from discomputify_core.edge import trees
from discomputify_core.interfaces.files import Blob, FileStore, Hasher
from discomputify_core.model.files import check_digest
from discomputify_core.model.ids import ProcessId


async def read_file(store: FileStore, process_id: ProcessId, manifest: str, path: str) -> bytes:
    """The bytes of one small file of a tree, b"" if it is not there."""
    tree = await store.manifest(process_id, check_digest(manifest))
    entry = next((entry for entry in tree.files if entry.path == path), None)
    if entry is None:
        return b""
    with tempfile.TemporaryDirectory(prefix="discomputify-") as folder:
        target = Path(folder) / "file"
        await store.get(process_id, [Blob(check_digest(entry.digest), entry.size, target)])
        return await asyncio.to_thread(target.read_bytes)


def scan_program(
    folder: Path, hasher: Callable[[], Hasher], input_path: str, output_path: str, also: Mapping[Path, str]
) -> trees.Scan:
    """What would be uploaded of a program directory. Blocks.

    Raises:
        BadInput: it is missing, empty or has no main.py, or holds what may not be uploaded.
    """
    trees.check_program(folder)
    scan = trees.scan(folder, hasher=hasher, output_path=output_path, also_ignored=also)
    trees.check_folders(scan.manifest.entries, (input_path, output_path))
    return scan
