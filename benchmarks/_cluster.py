"""A cluster of role processes on loopback for benchmarks that need more than the embedded one.

Here: confs, processes, submitting to them. Not here: what is measured.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _bench import DEADLINE, command

HOST = "127.0.0.1"
READY = 30.0


def free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Processes:
    """Store, shared memory, master and computing nodes, a process each. A context manager.

    Args:
        folder: everything is kept below it.
        nodes: how many computing nodes.
        slots: of each.
        keys: further keys of the conf.
    """

    def __init__(self, folder: Path, nodes: int = 1, slots: int = 8, **keys: Any) -> None:
        self.folder = folder
        self.slots = slots
        self.names = [f"node-{number}" for number in range(1, nodes + 1)]
        store, query, master, memory = free_ports(4)
        key = secrets.token_hex(16)
        self._common = {
            "ENCRYPTION_KEY": key,
            "DECRYPTION_KEY": key,
            "FTP_NODE": HOST,
            "FTP_PORT": store,
            "QUERY_PORT": query,
            "MASTER_NODE": HOST,
            "MASTER_PORT": master,
            "SHARED_MEM": "sharedmem",
            "SHARED_MEM_NODE": HOST,
            "SHARED_MEM_PORT": memory,
            **keys,
        }
        self._running: list[subprocess.Popen[str]] = []
        self._jobs = 0

    def conf(self, name: str) -> Path:
        """A conf with folders of its own."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        places = ("FTP_BASE_PATH", "WORK_PATH", "CACHE_PATH", "MASTER_PATH")
        own = {key: str(folder / key.lower()) for key in places}
        path = folder / "discomputify_conf.json"
        path.write_text(json.dumps({**own, **self._common}), encoding="utf-8")
        path.chmod(0o600)
        return path

    def __enter__(self) -> Processes:
        try:
            self._run("ftp_node")
            if self._common["SHARED_MEM"] == "sharedmem":
                self._run("shared_mem_node")
            self._run("master_node")
            for name in self.names:
                self._run("computing_node", name)
        except BaseException:
            self.__exit__()
            raise
        return self

    @property
    def pids(self) -> list[int]:
        """The processes of the roles."""
        return [each.pid for each in self._running]

    def __exit__(self, *exc: object) -> None:
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(15.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()

    def _run(self, role: str, name: str = "") -> None:
        line = [command(), "--conf", str(self.conf(name or role)), "run", role]
        options = ["--name", name, "--slots", str(self.slots)] if name else []
        log = ["--log-file", str(self.folder / f"{name or role}.log")]
        process = subprocess.Popen([*line, *options, *log], stdout=subprocess.PIPE, text=True)
        self._running.append(process)
        end = time.monotonic() + READY
        while process.stdout and time.monotonic() < end:
            if process.stdout.readline().startswith("ready:"):
                return
            if process.poll() is not None:
                break
        sys.exit(f"{role} did not become ready; see {self.folder}")

    @property
    def master(self) -> tuple[str, int]:
        """Where the master serves."""
        return str(self._common["MASTER_NODE"]), int(self._common["MASTER_PORT"])

    def start_of_master(self) -> float:
        """Seconds from the start of a master to its being ready; it is killed afterwards."""
        began = time.perf_counter()
        self._run("master_node")
        took = time.perf_counter() - began
        process = self._running.pop()
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
        return took

    def job(self, program: Path, parts: int, *args: object, options: tuple[str, ...] = ()) -> list[Any]:
        """Run *program*, all parts together; what each part wrote to result.json, in their order."""
        self._jobs += 1
        process_id, out = f"job-{self._jobs}", self.folder / "out"
        line = [command(), "--conf", str(self.conf("client")), "submit", str(program), "--json", "--out", str(out)]
        more = ["-n", str(parts), "--together", "--process-id", process_id, *options, "--", *map(str, args)]
        done = subprocess.run([*line, *more], capture_output=True, text=True, timeout=DEADLINE, check=False)
        if done.returncode:
            sys.exit(f"a job ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        results = [
            json.loads((out / process_id / f"{process_id}_{part}_{parts}" / "result.json").read_text(encoding="utf-8"))
            for part in range(1, parts + 1)
        ]
        shutil.rmtree(out)
        subprocess.run(
            [command(), "--conf", str(self.conf("client")), "clear", process_id],
            check=True,
            capture_output=True,
            timeout=60,
        )
        return results
