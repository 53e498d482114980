"""The published packages (DISCOMPUTIFY 1.0.0, CYPHER-PROTOCOL 1.5.0) as peers: unmodified, in a venv of their own.

Here: the venv, scripts that run in it, a relay that records what such a script sends. Not here: what is expected.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from .cluster_kit import MASTER, QUERY, STORE, Cluster, Process

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE.parent / "requirements-old-peers.txt"
#: Seconds for installing them.
INSTALLS = 240.0
CHUNK = 2 * 1024 * 1024


def install(folder: Path) -> Path:
    """The interpreter of a venv in *folder* that has the published packages; made once.

    Raises:
        OSError: it cannot be made.
    """
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    complete = folder / "complete"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if complete.exists() and complete.read_text(encoding="utf-8") == wanted and python.exists():
        return python
    for line in (
        (sys.executable, "-m", "venv", "--clear", str(folder)),
        (str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(REQUIREMENTS)),
    ):
        done = subprocess.run(line, capture_output=True, text=True, timeout=INSTALLS, check=False)
        if done.returncode:
            raise OSError(f"{' '.join(line)}: {done.stderr[-2000:]}")
    complete.write_text(wanted, encoding="utf-8")
    return python


def peers(cache: Path) -> Path:
    """As :func:`install`; skips the test where the packages cannot be installed, but not in CI."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        return install(cache / version)
    except (OSError, subprocess.TimeoutExpired) as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"the published packages cannot be installed here: {error}")


def old_conf(cluster: Cluster, **keys: Any) -> dict[str, Any]:
    """The conf of an old client of *cluster*, with every key that it reads."""
    common = cluster.common
    return {
        "RECV_BUFFER": 8 * 1024 * 1024,
        "TRANSMISSION_BUFFER": 1024 * 1024,
        "ENCRYPTION_KEY": common["ENCRYPTION_KEY"],
        "DECRYPTION_KEY": common["DECRYPTION_KEY"],
        "TIMEOUT": 60,
        "RECV_CHUNK_SIZE": CHUNK,
        "TRANSMISSION_CHUNK_SIZE": CHUNK,
        "DEBUG1": False,
        "DEBUG2": False,
        "INPUT_PATH": "INPUT_PATH",
        "OUTPUT_PATH": "OUTPUT_PATH",
        "FTP_NODE": STORE,
        "QUERY_NODE": QUERY,
        "MASTER_NODE": MASTER,
        "FTP_PORT": common["FTP_PORT"],
        "QUERY_PORT": common["QUERY_PORT"],
        "COMPUTING_PORT": common["MASTER_PORT"],
        "FTP_BASE_PATH": "COMPUTING_DATA",
        "COMPUTING_NODES": list(cluster.nodes),
        "COMP_NODE": cluster.nodes[0],
        **keys,
    }


class OldScript(Process):
    """A script of old_scripts/ in the published packages' interpreter; both sides speak in lines.

    Args:
        conf: is discomputify_conf.json in *folder*, where the script runs.
    """

    def __init__(
        self, python: Path, name: str, folder: Path, conf: Mapping[str, Any], *args: object, env: Mapping[str, str]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "discomputify_conf.json").write_text(json.dumps(conf), encoding="utf-8")
        line = (str(python), "-u", str(HERE / "old_scripts" / name), *map(str, args))
        super().__init__(line, env, folder)

    def said(self, what: str) -> Any:
        """The value that the script gave for *what*: it prints ``what: JSON``."""
        return json.loads(self.line(f"{what}: ").partition(": ")[2])


class Recorder:
    """Relays connections to *target* and keeps what clients sent, by connection."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.sent: list[bytearray] = []
        self._open: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, work: Any, *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, 10.0)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self._open += [client, server]
            self.sent.append(bytearray())
            self._start(self._relay, client, server, self.sent[-1])
            self._start(self._relay, server, client, None)

    @staticmethod
    def _relay(source: socket.socket, target: socket.socket, kept: bytearray | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                if kept is not None:
                    kept += data
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything."""
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5.0)


def replay(target: tuple[str, int], recorded: bytes) -> int:
    """Send what was *recorded*, token by token as its client did; returns how many were answered."""
    answered = 0
    with contextlib.suppress(OSError), socket.create_connection(target, 10.0) as line:
        line.settimeout(20.0)
        for token in recorded.split(b"\0")[:-1]:
            line.sendall(token + b"\0")
            answer = b""
            while not answer.endswith(b"\0"):
                more = line.recv(1 << 20)
                if not more:
                    return answered
                answer += more
            answered += 1
    return answered
