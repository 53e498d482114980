"""A cluster of real role processes on loopback addresses, as users start it: one conf and one command each.

Here: confs, processes, the command line as a process, waiting with deadlines, program directories. Not here: what is
expected of any of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
import psutil
import pytest

T = TypeVar("T")

COMMAND = (sys.executable, "-m", "discomputify_core.cli.main")
#: Seconds for a role to say that it is ready, for a command to end, and for anything else to happen.
READY, RUNS, HAPPENS = 40.0, 90.0, 30.0
#: Every process below a cluster has this in its environment, with the cluster's own mark.
MARK = "CLUSTER_KIT_MARK"

STORE, QUERY, MASTER, MEMORY = "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.8"
NODES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def until(condition: Callable[[], T], deadline: float = HAPPENS, what: str = "") -> T:
    """What *condition* gives as soon as that is true; for what no event announces.

    Raises:
        TimeoutError: it was not true within *deadline* seconds.
    """
    end = time.monotonic() + deadline
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"not within {deadline:.0f} s: {what or condition}")
        time.sleep(0.02)


def free_port(*hosts: str) -> int:
    """A port that is free on all of *hosts*."""
    for _ in range(50):
        with contextlib.ExitStack() as stack:
            try:
                first = stack.enter_context(socket.socket())
                first.bind((hosts[0], 0))
                port = int(first.getsockname()[1])
                for host in hosts[1:]:
                    stack.enter_context(socket.socket()).bind((host, port))
            except OSError:
                continue
            return port
    raise OSError(f"no port is free on all of {hosts}")


def need_addresses() -> None:
    """Skip the test where the loopback interface has 127.0.0.1 alone, as on macOS unless somebody adds the others."""
    for host in (*NODES, STORE, QUERY, MASTER, MEMORY):
        with socket.socket() as probe:
            try:
                probe.bind((host, 0))
            except OSError as error:
                pytest.skip(f"the loopback interface here has no address {host}: {error.strerror}")


def program(folder: Path, main: str, files: Mapping[str, str | bytes] | None = None) -> Path:
    """A program directory with *main* as its main.py, and *files*; a path that ends in "/" is an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"main.py": main, **(files or {})}.items():
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below *folder*: files with their bytes, folders with None."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@attrs.frozen
class Ran:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed with ``--json``."""
        return json.loads(self.out)

    def ok(self) -> Ran:
        """This, after making sure that it exited with 0."""
        assert self.code == 0, f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"
        return self


class Process:
    """A running command, whose lines can be waited for.

    Args:
        args: the command line.
        environment: all of it.
        folder: where it runs.
    """

    def __init__(self, args: tuple[str, ...], environment: Mapping[str, str], folder: Path) -> None:
        self.args = args
        self._process = subprocess.Popen(
            args,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self.pid = self._process.pid
        self._lines: dict[str, list[str]] = {"out": [], "err": []}
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(name, getattr(self._process, f"std{name}")), daemon=True)
            for name in self._lines
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, stream: Any) -> None:
        with stream:
            for line in stream:
                with self._news:
                    self._lines[name].append(line)
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def out(self) -> str:
        """What it wrote to stdout so far."""
        with self._news:
            return "".join(self._lines["out"])

    @property
    def err(self) -> str:
        """What it wrote to stderr so far."""
        with self._news:
            return "".join(self._lines["err"])

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def line(self, start: str, deadline: float = READY, stream: str = "out") -> str:
        """The first line that begins with *start*, as soon as it is there.

        Raises:
            AssertionError: the process ended without it, or *deadline* seconds passed.
        """

        def found() -> str | None:
            return next((line for line in self._lines[stream] if line.startswith(start)), None)

        with self._news:
            self._news.wait_for(lambda: found() or not self._readers_alive(), deadline)
            line = found()
        assert line is not None, f"{self.args} never said {start!r}:\n{self.out}\n{self.err}"
        return line.rstrip("\n")

    def _readers_alive(self) -> bool:
        return any(reader.is_alive() and reader is not threading.current_thread() for reader in self._readers)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self.wait()

    def wait(self, deadline: float = RUNS) -> Ran:
        """How it ended.

        Raises:
            AssertionError: it did not end within *deadline* seconds.
        """
        try:
            code = self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.args} did not end within {deadline} s:\n{self.out}\n{self.err}") from None
        for reader in self._readers:
            # A grandchild may hold the pipe open; what was written by then is there.
            reader.join(5.0)
        return Ran(code, self.out, self.err)

    def stop(self) -> Ran:
        """SIGTERM, and how it ended."""
        if self.running:
            self.signal(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        """Leave nothing of it, whatever the test did."""
        if self.running:
            self._process.kill()
        self._process.wait(10.0)
        for reader in self._readers:
            reader.join(5.0)


class Commands:
    """The command line in a home of its own: no conf is found there unless one is given.

    Args:
        folder: everything happens below it.
        conf: the conf that every command gets with ``--conf``.
    """

    def __init__(self, folder: Path, conf: Path | None = None) -> None:
        if sys.platform == "win32":
            pytest.skip("commands are interrupted and ended by POSIX signals here")
        self.folder = folder
        self.conf = conf
        self.mark = secrets.token_hex(8)
        self.here = folder / "here"
        self.temporary = folder / "tmp"
        self.home = folder / "home"
        for each in (self.here, self.temporary, self.home):
            each.mkdir(parents=True, exist_ok=True)
        self._processes: list[Process] = []
        #: What a command line begins with, by the conf that it uses: on which host of a network it runs.
        self.on_host: dict[Path, tuple[str, ...]] = {}

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """What commands see: this process's environment, but another home, and no conf."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DISCOMPUTIFY_", "XDG_")) and name not in ("COLUMNS", "FORCE_COLOR")
        }
        own = {"HOME": str(self.home), "TMPDIR": str(self.temporary), MARK: self.mark}
        return {**kept, **own, **(extra or {})}

    def spawn(
        self, *args: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, conf: Path | None = None
    ) -> Process:
        """Start ``discomputify ARGS``."""
        used = conf or self.conf
        named = () if used is None else ("--conf", str(used))
        where = () if used is None else self.on_host.get(used, ())
        line = (*where, *COMMAND, *named, *map(str, args))
        process = Process(line, self.environment(env), cwd or self.here)
        self._processes.append(process)
        return process

    def cli(
        self,
        *args: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        conf: Path | None = None,
        deadline: float = RUNS,
    ) -> Ran:
        """Run ``discomputify ARGS`` to its end."""
        return self.spawn(*args, cwd=cwd, env=env, conf=conf).wait(deadline)

    def alive(self) -> list[psutil.Process]:
        """All processes below this one's commands, those included."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == self.mark:
                    found.append(process)
        return found

    def leftovers(self) -> list[str]:
        """Command lines of processes that outlived what started them."""
        expected = {process.pid for process in self._processes if process.running}
        left = []
        for process in self.alive():
            with contextlib.suppress(psutil.Error):
                if process.pid not in expected and not expected.intersection(each.pid for each in process.parents()):
                    left.append(" ".join(process.cmdline()))
        return left

    def parts(self, attempt: int = 0) -> list[psutil.Process]:
        """Processes of parts that run now; only those in that *attempt*, if it is not 0."""
        found = []
        for process in self.alive():
            with contextlib.suppress(psutil.Error):
                env = process.environ()
                if "DISCOMPUTIFY_PART" in env and (not attempt or env.get("DISCOMPUTIFY_ATTEMPT") == str(attempt)):
                    found.append(process)
        return found

    def close(self) -> None:
        """End everything, kindly first: those who depend on others before these."""
        kinds = {"ftp_node", "shared_mem_node", "master_node"}
        services = [each for each in self._processes if kinds.intersection(each.args)]
        for group in ([each for each in self._processes if each not in services], services):
            for process in group:
                if process.running:
                    process.signal(signal.SIGTERM)
            for process in group:
                with contextlib.suppress(AssertionError):
                    process.wait(15.0)
        for process in self._processes:
            process.close()
        for left in self.alive():
            with contextlib.suppress(psutil.Error):
                left.kill()


class Cluster(Commands):
    """Role processes with a conf each, and commands that use the client's.

    Args:
        folder: everything is kept below it.
        nodes: names (addresses) of the computing nodes that the confs expect.
        conf: keys for all confs.
    """

    def __init__(self, folder: Path, nodes: tuple[str, ...] = NODES, **conf: Any) -> None:
        need_addresses()
        port = free_port(STORE, QUERY, MASTER, MEMORY)
        key = secrets.token_hex(16)
        self.common: dict[str, Any] = {
            "ENCRYPTION_KEY": key,
            "DECRYPTION_KEY": key,
            "FTP_NODE": STORE,
            "QUERY_NODE": QUERY,
            "MASTER_NODE": MASTER,
            "FTP_PORT": port,
            "QUERY_PORT": port,
            "MASTER_PORT": port,
            "SHARED_MEM_NODE": MEMORY,
            "SHARED_MEM_PORT": port,
            "COMPUTING_NODES": list(nodes),
            "SLOTS": 2,
            "RESERVE": 1,
            **conf,
        }
        super().__init__(folder)
        self.nodes = nodes
        self.conf = self.write_conf("client")
        self.roles: dict[str, Process] = {}

    def write_conf(self, name: str, **keys: Any) -> Path:
        """A conf of its own in a folder of its own, as on a machine of its own."""
        folder = self.folder / "machines" / name
        folder.mkdir(parents=True, exist_ok=True)
        places = {"FTP_BASE_PATH": "store", "WORK_PATH": "work", "CACHE_PATH": "cache", "MASTER_PATH": "master"}
        own = {key: str(folder / place) for key, place in places.items()}
        path = folder / "discomputify_conf.json"
        path.write_text(json.dumps({**self.common, **own, **keys}, indent=1), encoding="utf-8")
        path.chmod(0o600)
        return path

    def run(self, role: str, conf: Path, *options: str, env: Mapping[str, str] | None = None) -> Process:
        """Start ``discomputify run ROLE``; does not wait until it is ready."""
        return self.spawn("run", role, *options, conf=conf, env=env)

    def start_store(self) -> Process:
        """Start the store; back when it serves."""
        return self._started("ftp_node", self.run("ftp_node", self.write_conf("store")))

    def start_memory(self) -> Process:
        """Start the shared memory; back when it serves."""
        return self._started("shared_mem_node", self.run("shared_mem_node", self.write_conf("memory")))

    def start_master(self, **keys: Any) -> Process:
        """Start the master; back when it serves."""
        return self._started("master_node", self.run("master_node", self.write_conf("master", **keys)))

    def start_node(self, name: str, *, env: Mapping[str, str] | None = None, **keys: Any) -> Process:
        """Start the computing node *name*; back when the master has accepted it."""
        conf = self.write_conf(name, **{"COMP_NODE": name, **keys})
        return self._started(name, self.run("computing_node", conf, env=env))

    def _started(self, name: str, process: Process) -> Process:
        process.line("ready: ")
        self.roles[name] = process
        return process

    def start(self, **keys: Any) -> Cluster:
        """Start store, our shared memory if the confs name it, master and all nodes; *keys* are for the nodes."""
        self.start_store()
        if self.common.get("SHARED_MEM") == "sharedmem":
            self.start_memory()
        self.start_master()
        starting = {
            name: self.run("computing_node", self.write_conf(name, **{"COMP_NODE": name, **keys}))
            for name in self.nodes
        }
        for name, process in starting.items():
            self._started(name, process)
        return self

    def restart(self, role: str) -> Process:
        """End a role as planned and start it again with the conf that it has now."""
        self.roles[role].stop()
        return self.start_again(role)

    def start_again(self, role: str) -> Process:
        """Start a role that ended, with the conf that it had."""
        old = self.roles.pop(role)
        conf = Path(old.args[old.args.index("--conf") + 1])
        return self._started(role, self.run(old.args[old.args.index("run") + 1], conf))

    def submit(self, folder: Path, *options: object, **how: Any) -> Ran:
        """``submit FOLDER OPTIONS --json``."""
        return self.cli("submit", folder, "--json", *options, **how)

    def status(self, process_id: str) -> Any:
        """``status ID --json``."""
        return self.cli("status", process_id, "--json").ok().json

    def why(self, what: str, says: str = "") -> str:
        """``why ID``, all of it; as soon as it *says* that."""
        said = ""

        def asked() -> bool:
            nonlocal said
            said = self.cli("why", what).ok().out
            return says in said

        with contextlib.suppress(TimeoutError):
            until(asked, 10.0)
        assert says in said, said
        return said

    def node_states(self) -> dict[str, Any]:
        """``nodes --json`` by name."""
        return {node["name"]: node for node in self.cli("nodes", "--json").ok().json}
