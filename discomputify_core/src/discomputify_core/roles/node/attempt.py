"""One attempt on its computing node: files in place, program run, outputs committed, outcome told.

Here: the order of these steps and what each failure means. Not here: how a step is done (workspace.py, runner.py,
keeping.py, committing.py), talking to the master (computing.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import attrs

from discomputify_core.edge import clock
from discomputify_core.errors import DiscomputifyError, StoreFull
from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.conf import Conf
from discomputify_core.model.files import Manifest
from discomputify_core.model.job import End, JobSpec, Outcome
from discomputify_core.model.message import Progress, Start
from discomputify_core.model.node import NodeFacts
from discomputify_core.roles.node.agent_server import AgentServer
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.checkpoints import Checkpoints, restore
from discomputify_core.roles.node.committing import AWAY, Commits
from discomputify_core.roles.node.death import memory_limit, verdict
from discomputify_core.roles.node.environment import command, environment
from discomputify_core.roles.node.fetching import StoreAway, patiently
from discomputify_core.roles.node.keeping import Kept, keep
from discomputify_core.roles.node.memory import NodeMemory
from discomputify_core.roles.node.part_agent import PartAgent
from discomputify_core.roles.node.part_conf import part_conf
from discomputify_core.roles.node.reports import Reports, modest
from discomputify_core.roles.node.workspace import Left, Workspace, stage
from discomputify_core.roles.runner.launch import Exit, Launch
from discomputify_core.roles.runner.runner import Runner

log = logging.getLogger("discomputify.node")

T = TypeVar("T")


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
    commits: Commits
    conf: Conf
    #: None where the conf names no shared memory.
    memory: NodeMemory | None = None
    #: Called when the store turns out to have lost something.
    lost: Callable[[], None] = lambda: None


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
        self._memory = None if tools.memory is None else tools.memory.of(spec, start, tools.reports)
        self.indices = indices
        self._preparing: asyncio.Task[tuple[Manifest, Workspace]] | None = None
        self._launched = False
        #: Set when it is told to stop: its outputs wait for no store any more.
        self._told = asyncio.Event()
        #: Whether the store may hold a checkpoint of the part.
        self.checkpointed = bool(start.checkpoint)
        #: How the program ended, once it has.
        self._ended: Outcome | None = None
        self._progress = Progress(self.id, 0.0)

    async def run(self) -> Outcome:
        """Do everything; the outcome says how it went. Never raises but when cancelled."""
        began = clock.wall()
        try:
            outcome = await self._run()
        except _Stopped:
            outcome = Outcome(self.id, End.STOPPED)
        except StoreAway as error:
            outcome = Outcome(self.id, End.RETURNED, reason=f"could not be started: {error}")
        except DiscomputifyError as error:
            outcome = self._broken(str(error))
        except OSError as error:
            outcome = self._broken(_said(error))
        except Exception as error:  # a bug here must cost this attempt only, and be seen
            log.exception("attempt %s failed in the node", self.id)
            outcome = self._broken(f"a bug in discomputify: {type(error).__name__}: {error}")
        finally:
            if self.workspace is not None:
                await self._remove(self.workspace)
        if self.stopping is not None and outcome.end is not End.DONE:
            end, reason = self.stopping
            outcome = attrs.evolve(outcome, end=end, reason=reason, memory_lost=end is End.LOST)
        elif self._memory is not None and self._memory.lost and outcome.end in (End.EXIT, End.SIGNAL):
            # Whatever the program made of it.
            outcome = attrs.evolve(outcome, end=End.LOST, reason=self._memory.lost, memory_lost=True)
        if not outcome.started_at:
            outcome = attrs.evolve(outcome, started_at=began, ended_at=clock.wall())
        return modest(outcome)

    async def stop(self, end: End, reason: str) -> None:
        """End the program and its children, if they run; :meth:`run` then gives *end* and *reason*."""
        if self.stopping is None:
            self.stopping = (end, reason)
        self._told.set()
        if self._preparing is not None:
            self._preparing.cancel()  # inputs may take minutes to come
        if self._launched:
            await self._tools.runner.stop(self.id)

    async def lose_memory(self, reason: str) -> None:
        """What the shared memory held is lost: end the program if it has used it."""
        if self._memory is not None and self._memory.used:
            await self.stop(End.LOST, reason)

    async def _remove(self, workspace: Workspace) -> None:
        try:
            await asyncio.to_thread(workspace.remove)
        except OSError as error:  # swept when the node starts again; the outcome matters more
            log.warning("the work folder %s stays: %s", workspace.folder, error)

    def _broken(self, reason: str) -> Outcome:
        if self._ended is None:
            return Outcome(self.id, End.BROKEN, reason=f"could not be run: {reason}")
        return attrs.evolve(self._ended, end=End.BROKEN, reason=f"ran, but what it left could not be kept: {reason}")

    async def _run(self) -> Outcome:
        tools = self._tools
        manifest, workspace = await self._prepared()
        memory = self._memory
        checkpoints = Checkpoints(tools.commits, self._start, workspace.checkpoint, self._on_kept, self._on_waiting)
        agent = PartAgent(
            workspace,
            self.spec,
            manifest,
            tools.cache,
            tools.store,
            self._on_progress,
            memory,
            checkpoints.keep,
            self._fetched,
        )
        try:
            told = tools.agent.register(self.id, agent.handle, agent.quick)
            ended = await self._program(workspace, told)
        finally:
            tools.agent.unregister(self.id)
            if memory is not None:
                memory.ended()
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
        manifest, workspace = await self._patiently(self._stage)
        if self._start.checkpoint:
            await self._patiently(lambda: restore(self._tools.store, self._start, workspace.checkpoint))
        return manifest, workspace

    async def _patiently(self, fetch: Callable[[], Awaitable[T]]) -> T:
        return await patiently(self._tools.commits, fetch, self._on_waiting, self._tools.lost)

    async def _fetched(self, fetch: Callable[[], Awaitable[None]]) -> None:
        """An input that the running program asks for: without the store it cannot go on here, and is not to blame."""
        try:
            await self._patiently(fetch)
        except StoreAway as error:
            await self.stop(End.RETURNED, f"could not go on: {error}")
            raise

    async def _stage(self) -> tuple[Manifest, Workspace]:
        asked = self._manifest(self.spec)
        await asyncio.wait([asked])  # other parts of the job wait for the same
        if asked.cancelled():
            raise DiscomputifyError(f"the files of '{self.spec.process_id}' were given up while they were asked for")
        manifest, tools = asked.result(), self._tools
        self.workspace = workspace = await stage(
            tools.base,
            self.id,
            self.spec,
            self._start.part,
            manifest,
            tools.cache,
            tools.store,
            conf=part_conf(tools.conf, self.spec),
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
            time_limit=spec.time_limit,
            memory_limit=memory_limit(spec),
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
        self._progress = Progress(self.id, fraction, note)
        self._tools.reports.progress(self._progress)

    def _on_kept(self, manifest: str) -> None:
        self.checkpointed = True
        self._tools.reports.kept(self.id, manifest)

    def _on_waiting(self, sentence: str) -> None:
        self._tools.reports.progress(attrs.evolve(self._progress, waiting=sentence))

    # --- afterwards ---------------------------------------------------------------------------------

    async def _finish(self, workspace: Workspace, ended: Exit) -> Outcome:
        """Commit what is to be kept, and say how it went."""
        self._ended = outcome = verdict(ended, self.spec, self._tools.facts, str(self._tools.base))
        if self.stopping and self.stopping[0] is End.RETURNED and outcome.end is not End.DONE:
            return outcome
        try:
            return await self._keep(workspace, outcome)
        except (DiscomputifyError, OSError) as error:
            if outcome.end is End.DONE:
                outcome = self._broken(_said(error))
            else:
                log.warning("what attempt %s left is not kept: %s", self.id, error)
            hopeless = self.stopping is not None or isinstance(error, (*AWAY, StoreFull))
            return outcome if hopeless else await self._keep_logs(workspace, outcome)

    async def _keep(self, workspace: Workspace, outcome: Outcome) -> Outcome:
        """Bring into the store what is to be kept; a good attempt whose outputs cannot be kept is none."""
        good = outcome.end is End.DONE
        left = Left()
        if not self.stopping and outcome.end is not End.STOPPED:
            left = await asyncio.to_thread(workspace.look, self.spec.collect)
        hasher = self._tools.store.hasher
        kept = await asyncio.to_thread(keep, workspace, hasher, outputs=good, collected=left.collected)
        outcome = attrs.evolve(outcome, strays=left.strays, unkept=kept.unkept)
        if kept.fault:
            outcome = attrs.evolve(outcome, end=End.EXIT, reason=kept.fault)
            return await self._keep_logs(workspace, outcome)
        return await self._commit(outcome, kept)

    async def _keep_logs(self, workspace: Workspace, outcome: Outcome) -> Outcome:
        """As :meth:`_keep` where nothing but logs can be kept; without them, the outcome counts still."""
        try:
            kept = await asyncio.to_thread(keep, workspace, self._tools.store.hasher, outputs=False)
            return await self._commit(outcome, kept)
        except (DiscomputifyError, OSError) as error:
            log.warning("logs of attempt %s are not kept: %s", self.id, error)
            return outcome

    async def _commit(self, outcome: Outcome, kept: Kept) -> Outcome:
        patient = outcome.end is End.DONE
        digest = await self._tools.commits.commit(
            self.spec.process_id, self.id, kept, self._on_waiting, give_up=self._told if patient else None
        )
        outputs = kept.manifest.under("outputs")
        return attrs.evolve(outcome, manifest=digest, output_files=len(outputs.files), output_bytes=outputs.size)


def _said(error: DiscomputifyError | OSError) -> str:
    if isinstance(error, DiscomputifyError):  # some are OSErrors, too
        return str(error)
    return f"{error.strerror or error} ({error.filename or 'no file'})"
