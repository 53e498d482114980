"""A computing node as far as shared memory needs one: the real agent and its files, over a fake table."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from discomputify_core.errors import MemoryLost, NoSharedMemory
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.memory import Limits, Member, Scope
from discomputify_core.model.message import ArrayKept, ArrayWanted, Report
from discomputify_core.roles.node.agent_line import Body, Handler, Line
from discomputify_core.roles.node.agent_server import AgentServer
from discomputify_core.roles.node.arrays import Arrays
from discomputify_core.roles.node.memory import NodeMemory, PartMemory
from discomputify_core.roles.node.reports import Reports
from discomputify_testkit.confs import make_conf
from discomputify_testkit.fakes.memory_shared import FakeSharedMemory, FakeTable
from discomputify_testkit.fakes.memory_store import MemoryContents, MemoryStore

T = TypeVar("T")

SCOPE = Scope(ProcessId("job"), "key")


class MemoryNode(AgentServer):
    """A context manager; serves parts 1 to *total* from a thread of its own.

    ``asked`` is what programs have asked for, ``connections`` how many they have made.
    """

    def __init__(self, folder: Path, total: int = 1, limits: Limits | None = None, shared: bool = True) -> None:
        super().__init__()
        self.folder, self.total, self.shared = folder, total, shared
        self.asked: list[dict[str, Any]] = []
        self.connections = 0
        self._plugin = FakeSharedMemory(shared=FakeTable(limits or Limits()))
        store = MemoryStore(make_conf(), contents=MemoryContents())
        self._arrays = Arrays(NodeName("node"), folder, store, 100_000_000, nobody)
        self._reports = Reports(unsent)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> MemoryNode:
        self._thread.start()
        self._do(self.start())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for part in (self.close, self._arrays.close, self._plugin.close, self._loop.shutdown_default_executor):
                self._do(part())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def came(self, line: Line) -> bool:
        """See AgentServer."""
        self.connections += 1
        return super().came(line)

    def environment(self, part: int = 1, number: int = 1) -> dict[str, str]:
        """What tells a program that it is this attempt of *part*."""
        attempt = AttemptId(f"job.{part}.{number}.key")
        memory = PartMemory(
            NodeMemory(self._plugin, self._arrays), Member(SCOPE, attempt, part, number, self.total), self._reports
        )

        async def handle(operation: str, data: dict[str, Any], body: Body) -> tuple[dict[str, Any], Body]:
            assert operation == "memory"
            self.asked.append(data)
            if not self.shared:
                raise NoSharedMemory("The conf names no SHARED_MEM.")
            return await memory.handle(data, body)

        values = {"PART": part, "TOTAL_PARTS": self.total, "ATTEMPT": number}
        return {
            **self._do(self._registered(attempt, handle)),
            **{f"DISCOMPUTIFY_{name}": str(value) for name, value in values.items()},
        }

    async def _registered(self, attempt: AttemptId, handler: Handler) -> dict[str, str]:
        return self.register(attempt, handler)

    def program(self, code: str, part: int = 1, number: int = 1) -> subprocess.Popen[str]:
        """A program of *part*, where ``program``, ``memory`` and ``part`` are known."""
        text = (
            "import sys\nfrom discomputify_core import program\n"
            f"memory = program.memory()\npart, number = {part}, {number}\n{code}"
        )
        environment = {**os.environ, **self.environment(part, number)}
        command = [sys.executable, "-W", "error", "-c", text]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, code: str, *parts: int) -> list[str]:
        """What the program prints in each of *parts* (default: all) at the same time."""
        running = [self.program(code, part) for part in parts or range(1, self.total + 1)]
        return [finished(each) for each in running]


async def nobody(wanted: ArrayWanted) -> ArrayKept:
    """There is no other node."""
    raise MemoryLost("That node is not connected.")


async def unsent(report: Report) -> None:
    """There is no master."""


def finished(process: subprocess.Popen[str]) -> str:
    """What a program printed, which has to end well and say nothing on stderr."""
    try:
        out, err = process.communicate(timeout=30)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    assert (process.returncode, err) == (0, "")
    return out.strip()
