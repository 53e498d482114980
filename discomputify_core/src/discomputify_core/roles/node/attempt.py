"""One attempt on its computing node: files in place, program run, outputs committed, outcome told.

Here: the order of these steps and what each failure means. Not here: how a step is done (workspace.py, runner.py,
edge/trees.py), talking to the master (computing.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from discomputify_core.edge import clock, trees
from discomputify_core.errors import DiscomputifyError, Unreachable
from discomputify_core.interfaces.files import Blob, FileStore
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.model.job import End, JobSpec, Outcome
from discomputify_core.model.message import Progress, Start
from discomputify_core.model.node import NodeFacts
from discomputify_core.roles.node.agent_server import AgentServer
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.diagnose import diagnose
from discomputify_core.roles.node.environment import command, environment
from discomputify_core.roles.node.part_agent import PartAgent
from discomputify_core.roles.node.reports import Reports
from discomputify_core.roles.node.workspace import Left, Workspace, stage
from discomputify_core.roles.runner.launch import Exit, Launch
from discomputify_core.roles.runner.runner import Runner

log = logging.getLogger("discomputify.node")

#: Seconds for which a store that does not answer is asked again before an attempt is given up.
STORE_PATIENCE = 120.0
#: Most characters of stderr told to the master; all of it is kept with the outputs.
TAIL = 4000


@attrs.frozen
class Tools:
    """What all attempts of a node share."""

    facts: NodeFacts
    base: Path
    cache: BlobCache
    store: FileStore
    runner: Runner
    agent: AgentServer
    reports: Reports


class _Stopped(Exception):
    """The attempt was told to stop before its program was started."""


class PartAttempt:
    """Runs one part once.

    Args:
        tools: what the node has.
        spec: the job.
        start: which part, which attempt.
        manifest: gives the program's tree.
        indices: which of each named resource it may use.
    """

    def __init__(
        self,
        tools: Tools,
        spec: JobSpec,
        start: Start,
        manifest: Callable[[JobSpec], asyncio.Future[Manifest]],
        indices: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.id = start.attempt
        self.spec = spec
        self.workspace: Workspace | None = None
        #: Why it was told to stop, and how that counts.
        self.stopping: tuple[End, str] | None = None
        self._tools = tools
        self._start = start
        self._manifest = manifest
        self.indices = indices
        self._preparing: asyncio.Task[tuple[Manifest, Workspace]] | None = None
        self._launched = False

    async def run(self) -> Outcome:
        """Do everything; the outcome says how it went. Never raises but when cancelled."""
        began = clock.wall()
        try:
            outcome = await self._run()
        except _Stopped:
            outcome = Outcome(self.id, End.STOPPED)
        except DiscomputifyError as error:
            outcome = self._broken(str(error))
        except OSError as error:
            outcome = self._broken(f"{error.strerror or error} ({error.filename or 'no file'})")
        except Exception as error:  # a bug here must cost this attempt only, and be seen
            log.exception("attempt %s failed in the node", self.id)
            outcome = self._broken(f"a bug in discomputify: {type(error).__name__}: {error}")
        finally:
            if self.workspace is not None:
                await self._remove(self.workspace)
        if self.stopping is not None and outcome.end is not End.DONE:
            end, reason = self.stopping
            outcome = attrs.evolve(outcome, end=end, reason=reason)
        if not outcome.started_at:
            outcome = attrs.evolve(outcome, started_at=began, ended_at=clock.wall())
        return outcome

    async def stop(self, end: End, reason: str) -> None:
        """End the program and its children, if they run; :meth:`run` then gives *end* and *reason*."""
        if self.stopping is None:
            self.stopping = (end, reason)
        if self._preparing is not None:
            self._preparing.cancel()  # inputs may take minutes to come
        if self._launched:
            await self._tools.runner.stop(self.id)

    async def _remove(self, workspace: Workspace) -> None:
        try:
            await asyncio.to_thread(workspace.remove)
        except OSError as error:  # swept when the node starts again; the outcome matters more
            log.warning("the work folder %s stays: %s", workspace.folder, error)

    def _broken(self, reason: str) -> Outcome:
        where = f"part {self._start.part} could not be run on {self._tools.facts.name}"
        return Outcome(self.id, End.BROKEN, reason=f"{where}: {reason}")

    async def _run(self) -> Outcome:
        tools = self._tools
        manifest, workspace = await self._prepared()
        agent = PartAgent(workspace, self.spec, manifest, tools.cache, tools.store, self._on_progress)
        try:
            told = tools.agent.register(self.id, agent.handle)
            ended = await self._program(workspace, told)
        finally:
            tools.agent.unregister(self.id)
        return await self._finish(workspace, ended)

    async def _prepared(self) -> tuple[Manifest, Workspace]:
        """The program's tree and a folder with what the part needs of it; :meth:`stop` ends this at once.

        Raises:
            _Stopped: it did.
            DiscomputifyError: the files cannot be had.
        """
        if self.stopping:
            raise _Stopped
        self._preparing = preparing = asyncio.ensure_future(self._prepare())
        try:
            await asyncio.wait([preparing])
        except asyncio.CancelledError:
            preparing.cancel()
            await asyncio.wait([preparing])
            raise
        finally:
            self._preparing = None
        if preparing.cancelled():
            raise _Stopped
        return preparing.result()

    async def _prepare(self) -> tuple[Manifest, Workspace]:
        asked = self._manifest(self.spec)
        await asyncio.wait([asked])  # other parts of the job wait for the same
        if asked.cancelled():
            raise Unreachable(f"the files of '{self.spec.process_id}' were given up while they were asked for")
        manifest, tools = asked.result(), self._tools
        self.workspace = workspace = await stage(
            tools.base, self.id, self.spec, self._start.part, manifest, tools.cache, tools.store
        )
        return manifest, workspace

    async def _program(self, workspace: Workspace, agent: Mapping[str, str]) -> Exit:
        spec, part = self.spec, self._start.part
        launch = Launch(
            attempt=self.id,
            argv=command(self._tools.facts.interpreter, spec, part),
            cwd=workspace.folder,
            env=environment(
                spec,
                part,
                self._start.number,
                workspace,
                base=os.environ,
                agent=agent,
                indices=self.indices,
            ),
            out=workspace.out,
            err=workspace.err,
        )
        if self.stopping:
            return Exit(self.id, stopped=True)
        self._launched = True
        await self._tools.runner.run(launch)
        self._tools.reports.started(self.id)
        if self.stopping:  # asked for while the program was being started
            await self._tools.runner.stop(self.id)
        return await self._tools.runner.wait(self.id)

    def _on_progress(self, fraction: float, note: str) -> None:
        self._tools.reports.progress(Progress(self.id, fraction, note))

    # --- afterwards ---------------------------------------------------------------------------------

    async def _finish(self, workspace: Workspace, ended: Exit) -> Outcome:
        """Commit what is to be kept, and say how it went."""
        outcome = self._verdict(ended)
        if self.stopping and self.stopping[0] is End.RETURNED:
            return outcome if outcome.end is not End.DONE else await self._commit(workspace, outcome, Left())
        if outcome.end is End.STOPPED or self.stopping:
            return await self._commit(workspace, outcome, Left())
        left = await asyncio.to_thread(workspace.look, self.spec.collect)
        return attrs.evolve(await self._commit(workspace, outcome, left), strays=left.strays)

    def _verdict(self, ended: Exit) -> Outcome:
        facts = self._tools.facts
        outcome = Outcome(
            self.id,
            End.DONE,
            code=ended.signal or ended.code,
            stderr_tail=ended.stderr_tail[-TAIL:],
            started_at=ended.started_at,
            ended_at=ended.ended_at,
        )
        if ended.broken:
            return attrs.evolve(outcome, end=End.BROKEN, reason=ended.broken)
        if ended.stopped:
            return attrs.evolve(outcome, end=End.STOPPED, reason="stopped")
        if not ended.code and not ended.signal:
            return outcome
        found = diagnose(
            self._start.part,
            facts.name,
            code=ended.code,
            signal=ended.signal,
            stderr_tail=ended.stderr_tail,
            python=facts.python,
            interpreter=facts.interpreter,
            folder=str(self._tools.base),
        )
        return attrs.evolve(
            outcome,
            end=End.SIGNAL if ended.signal else End.EXIT,
            reason=found.reason,
            missing_module=found.missing_module,
        )

    async def _commit(self, workspace: Workspace, outcome: Outcome, left: Left) -> Outcome:
        """Keep logs, and of a good attempt its outputs, in the store."""
        kept = await asyncio.to_thread(self._collect, workspace, outcome.end is End.DONE, left)
        manifest, blobs, faults = kept
        if faults and outcome.end is End.DONE:
            return attrs.evolve(outcome, end=End.EXIT, reason="; ".join(faults))
        try:
            digest = await self._store(manifest, blobs)
        except DiscomputifyError as error:
            if outcome.end is not End.DONE:
                log.warning("logs of %s are not kept: %s", self.id, error)
                return outcome
            raise
        outputs = manifest.under("outputs")
        return attrs.evolve(outcome, manifest=digest, output_files=len(outputs.files), output_bytes=outputs.size)

    def _collect(self, workspace: Workspace, good: bool, left: Left) -> tuple[Manifest, list[Blob], list[str]]:
        """What is to be kept, as one tree: ``outputs/``, ``collected/``, ``logs/``. Blocks."""
        hasher = self._tools.store.hasher
        files: list[trees.LocalFile] = []
        empty: list[Entry] = []
        faults: list[str] = []
        if good:
            found = trees.collect(workspace.outputs, hasher=hasher, prefix="outputs")
            faults += found.warnings
            files += found.files
            empty += [entry for entry in found.manifest.entries if entry.folder]
        for path in left.collected:
            files.append(trees.local_file(workspace.folder / path, f"collected/{path}", hasher))
        for stream in (workspace.out, workspace.err):
            if stream.exists() and stream.stat().st_size:
                files.append(trees.local_file(stream, f"logs/{stream.name}", hasher))
        return Manifest([*empty, *(file.entry for file in files)]), [file.blob for file in files], faults

    async def _store(self, manifest: Manifest, blobs: list[Blob]) -> str:
        """Commit, asking a store that does not answer again for a while."""
        deadline = clock.now() + STORE_PATIENCE
        while True:
            try:
                await self._tools.store.put(self.spec.process_id, blobs)
                return await self._tools.store.commit(self.spec.process_id, self.id, manifest)
            except Unreachable as error:
                if clock.now() > deadline:
                    raise
                log.warning("outputs of %s wait for the store: %s", self.id, error)
            await asyncio.sleep(clock.jittered(1.0))
