"""Where in an uploaded tree the program is, and which of its files belong to it. Pure.

Old clients (CYPHER/1) upload a program with whatever folders were in the path that they were given, so its main.py is
rarely at the top. Not here: where trees come from, what a program needs besides main.py.
"""

from __future__ import annotations

from discomputify_core.errors import BadInput
from discomputify_core.model.conf import CONF_NAME
from discomputify_core.model.files import Manifest

MAIN = "main.py"


def program_root(manifest: Manifest) -> str:
    """The folder that holds main.py, "" for the top: the nearest to the top, of equally near ones the first by name.

    Raises:
        BadInput: there is no main.py.
    """
    folders = [entry.path[: -len(MAIN)] for entry in manifest.files if ("/" + entry.path).endswith("/" + MAIN)]
    if not folders:
        raise BadInput(f"There is no {MAIN} among the {len(manifest.files)} files that were uploaded.")
    return min(folders, key=lambda folder: (folder.count("/"), folder)).rstrip("/")


def program_in(manifest: Manifest) -> Manifest:
    """The program's tree: what is below its root, without the conf there, which holds a cluster's key.

    Raises:
        BadInput: there is no main.py.
    """
    root = program_root(manifest)
    below = manifest.under(root) if root else manifest
    return Manifest(entry for entry in below.entries if entry.path != CONF_NAME)
