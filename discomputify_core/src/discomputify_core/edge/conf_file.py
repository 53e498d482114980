"""discomputify_conf.json on disk: where it is searched, how it is read, how a new one is written.

Here: files and folders. Not here: what the keys mean (model/conf_read.py), plugins (opening.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from discomputify_core.errors import BadConf, BadInput, DiskError
from discomputify_core.model.conf import CONF_NAME, Conf
from discomputify_core.model.conf_fields import Problem
from discomputify_core.model.conf_kinds import KEY_LENGTH
from discomputify_core.model.conf_read import parse

ENVIRONMENT = "DISCOMPUTIFY_CONF"
#: Names its work folder to the program of a part.
PART_FOLDER = "DISCOMPUTIFY_WORK_PATH"
#: No conf is larger; what is, is some other file.
MAX_BYTES = 1 << 20


@attrs.frozen
class Found:
    """A conf file, and which step of the search found it."""

    path: Path
    #: "--conf", "DISCOMPUTIFY_CONF", "current folder" or "user's config folder".
    by: str


@attrs.frozen
class ConfText:
    """A conf file's content before anyone looked at what it means."""

    found: Found
    data: Mapping[str, Any] = attrs.field(repr=False)
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]


def user_conf() -> Path:
    """The conf in the user's config folder."""
    import platformdirs  # only needed where nothing nearer was found

    return platformdirs.user_config_path("discomputify", appauthor=False) / CONF_NAME


def find(named: Path | None, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Found | None:
    """The conf to use: *named* by ``--conf``, else DISCOMPUTIFY_CONF, the current folder, the user's config folder.

    The one in a part's work folder does not count: it has no keys, and is there for programs that look it up.

    Args:
        named: what ``--conf`` said.
        environ: instead of this process's environment.
        folder: instead of the current folder.

    Raises:
        BadInput: a conf that was named does not exist.
    """
    environ = os.environ if environ is None else environ
    said, part = environ.get(ENVIRONMENT, ""), environ.get(PART_FOLDER, "")
    if named is not None:
        return Found(_existing(named, "--conf"), "--conf")
    if said:
        return Found(_existing(Path(said), ENVIRONMENT), ENVIRONMENT)
    folder = Path.cwd() if folder is None else folder
    here = folder / CONF_NAME
    if os.path.lexists(here) and not (part and Path(part).resolve() == folder.resolve()):
        return Found(here.absolute(), "current folder")
    user = user_conf()
    return Found(user, "user's config folder") if os.path.lexists(user) else None


def searched() -> str:
    """Where :func:`find` looks when nothing is named, for messages."""
    return f"--conf, {ENVIRONMENT}, the current folder ({Path.cwd()}), {user_conf().parent}"


def _existing(path: Path, by: str) -> Path:
    path = path.expanduser().absolute()
    if path.is_dir():
        raise BadInput(
            f"{by} names the folder {path}; it should name a file such as {path / CONF_NAME}.", path=str(path)
        )
    if not os.path.lexists(path):
        raise BadInput(f"{by} names {path}, which does not exist. 'discomputify init' writes a conf.", path=str(path))
    return path


def read_text(found: Found) -> ConfText:
    """The content of the conf file.

    Raises:
        BadConf: it cannot be read or is not JSON; says where.
    """
    path = found.path
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise BadConf(f"{path} is not a file.", path=str(path))
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadConf(f"{path} cannot be read: {error.strerror or error}.", path=str(path)) from error
    if len(raw) > MAX_BYTES:
        raise BadConf(f"{path} is larger than {MAX_BYTES:,} bytes: this is not a conf.", path=str(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadConf(f"{path} is not a conf: line {line} is not UTF-8 text.", path=str(path)) from error
    data, problems = parse(text, str(path))
    warnings = _exposed(path, facts.st_mode) if data.get("ENCRYPTION_KEY") or data.get("DECRYPTION_KEY") else ()
    return ConfText(found, data, problems, warnings)


def _exposed(path: Path, mode: int) -> tuple[str, ...]:
    if os.name != "posix" or not mode & (stat.S_IRGRP | stat.S_IROTH):
        return ()
    return (
        f"{path} holds the cluster's key and other users of this machine can read it; mend it with: chmod 600 {path}",
    )


def anchored(conf: Conf, folder: Path) -> Conf:
    """*conf* with its paths made absolute: relative ones start at *folder*, the conf's own.

    PYTHON stays as it is where it is a bare command, which is looked for in PATH.
    """

    def at(path: str) -> str:
        return str((folder / Path(path).expanduser()).absolute())

    changes: dict[str, Any] = {"ftp_base_path": at(conf.ftp_base_path)}
    for name in ("work_path", "cache_path", "master_path"):
        value = getattr(conf, name)
        if value is not None:
            changes[name] = at(value)
    if conf.python is not None and Path(conf.python).name != conf.python:
        changes["python"] = at(conf.python)
    return attrs.evolve(conf, **changes)


def new_key() -> str:
    """A fresh random key."""
    letters = string.ascii_letters + string.digits
    return "".join(secrets.choice(letters) for _ in range(KEY_LENGTH))


def write_new(path: Path, master: str, store: str, force: bool = False, memory: str = "") -> None:
    """Write a conf with a fresh key in both keys, readable by its owner alone from the start.

    Args:
        path: the file; its folder exists.
        master: MASTER_NODE.
        store: FTP_NODE.
        force: replace a conf that is there.
        memory: SHARED_MEM, whose service is to run where the master does; "" for none.

    Raises:
        BadInput: there is one already, and not *force*.
        DiskError: it cannot be written.
    """
    key = new_key()
    conf = Conf()
    data = {
        "MASTER_NODE": master,
        "MASTER_PORT": conf.master_port_or_default,
        "FTP_NODE": store,
        "FTP_PORT": conf.ftp_port,
        "QUERY_PORT": conf.query_port,
        "COMPUTING_NODES": [],
        "SCHEDULER": conf.scheduler,
        **(
            {"SHARED_MEM": memory, "SHARED_MEM_NODE": master, "SHARED_MEM_PORT": conf.shared_mem_port} if memory else {}
        ),
        "ENCRYPTION_KEY": key,
        "DECRYPTION_KEY": key,
    }
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    # Written beside its place and then moved there, so that nobody ever sees half a conf.
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        if not force and os.path.lexists(path):
            raise _taken(path)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        if force:
            fresh.replace(path)
        else:
            _place(fresh, path)
    except OSError as error:
        raise DiskError(f"{path} cannot be written: {error.strerror or error}.", path=str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink()


def _place(fresh: Path, path: Path) -> None:
    """Move *fresh* to *path* unless something is there, even if it came this very moment."""
    try:
        os.link(fresh, path)  # fails where the name is taken, unlike a rename
    except FileExistsError:
        raise _taken(path) from None
    except OSError:  # a file system without hard links
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        fresh.replace(path)


def _taken(path: Path) -> BadInput:
    return BadInput(
        f"{path} exists already and holds a cluster's key; --force replaces it (every machine then needs the new one).",
        path=str(path),
    )
