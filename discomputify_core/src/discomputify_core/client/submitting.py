"""Submitting program directories: what becomes of a folder until the master has accepted it as a job.

Not here: its way to the store (uploading.py), what it requires of nodes (requirements.py), what becomes of the job
(client.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from discomputify_core.client import requirements
from discomputify_core.client.predecessors import Jobs, check_known, ids_of
from discomputify_core.client.results import Submitted, Upload
from discomputify_core.client.uploading import Uploading
from discomputify_core.edge import clock, trees
from discomputify_core.edge.ignore import matcher
from discomputify_core.edge.machine import owner
from discomputify_core.edge.weights import check_job
from discomputify_core.errors import BadInput, DiscomputifyError, NoSuchJob
from discomputify_core.interfaces.files import Moved
from discomputify_core.model.files import Digest, Manifest, check_digest
from discomputify_core.model.ids import check_parts, check_process_id
from discomputify_core.model.inputs import check_inputs, check_inputs_from, most_bytes_of_a_part
from discomputify_core.model.job import MOST_LIMIT, JobSpec, JobStatus, Request
from discomputify_core.model.message import AboutJob, ClearAsked
from discomputify_core.model.program_root import program_in


class Submitting(Uploading):
    """The part of a client that starts jobs."""

    async def submit(
        self,
        folder: Path | str,
        parts: int | None = None,
        *,
        process_id: str | None = None,
        request: Request | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        inputs: str = "all",
        collect: Sequence[str] = (),
        retries: int = 2,
        lost_retries: int = 5,
        time_limit: float = 0.0,
        deadline: float = 0.0,
        memory_limit: int = 0,
        max_failures: int = 0,
        priority: int = 0,
        second_attempts: bool = False,
        require: Sequence[str] = (),
        after: Jobs = (),
        after_any: Jobs = (),
        inputs_from: Jobs = (),
        together: bool = False,
        moved: Moved | None = None,
        scanned: Callable[[trees.Scan], None] | None = None,
    ) -> Submitted:
        """Upload a program directory and start it as a job.

        Args:
            folder: holds main.py, everything it imports, and its inputs.
            parts: how many parts; None: as many as the cluster has slots.
            process_id: the job's name; None: microseconds since the epoch.
            request: what one part needs.
            args: further arguments of main.py.
            env: further environment of every part.
            inputs: "all", "lazy" or a pattern such as ``INPUT_PATH/{part}/**``.
            collect: patterns of files outside OUTPUT_PATH to bring home.
            retries: how often a part that fails by itself is tried again.
            lost_retries: how often a part is tried again whose node was lost.
            time_limit: seconds after which an attempt is ended, which counts as a failure; 0: none.
            deadline: seconds after its submission at which the job is ended as failed, if it has not ended; 0: none.
            memory_limit: bytes that all processes of a part may use together; 0: what *request* asks for, if it does.
            max_failures: failed parts after which the job is ended; 0: the others go on.
            priority: parts of jobs with a higher one start first.
            second_attempts: try a part that runs far longer than others did on an idle node, too.
            require: what nodes must have to get a part, such as ``numpy>=2`` or ``python==3.12``; what the folder's
                requirements.txt says is required likewise.
            after: jobs that have to be done before this one starts: ids, or what was given for them.
            after_any: jobs that have to have ended in any way before.
            inputs_from: jobs that have to be done before, whose outputs the parts find under INPUT_PATH/PROCESS_ID.
            together: start all parts at once, or none.
            moved: told the bytes that were uploaded, as they are.
            scanned: shown the folder's contents before they are uploaded.

        A master that goes away while it is told of the job is waited for, and told again: the job starts once.

        Raises:
            BadInput: the folder, parts, process id, a limit or a requirement cannot be used.
            JobExists: the process id is in use.
            NoSuchJob: it is to follow a job that there is not.
            StoreFull: the store or the master has no room.
            Unreachable: no master, no store, or (without *parts*) no computing node.
        """
        folder = Path(folder)
        pid = check_process_id(clock.new_process_id() if process_id is None else process_id)
        if parts is not None:
            check_parts(parts)
        _check_limits(
            retries=retries,
            lost_retries=lost_retries,
            time_limit=time_limit,
            deadline=deadline,
            memory_limit=memory_limit,
            max_failures=max_failures,
            priority=priority,
        )
        requirements.required(require, "")
        check_inputs(inputs, self._connection.conf.input_path)
        if collect:
            matcher(tuple(collect), "--collect")
        inputs_of, any_of = ids_of(inputs_from, "inputs_from"), ids_of(after_any, "after_any")
        done_of = tuple(dict.fromkeys((*ids_of(after, "after"), *inputs_of)))
        scan = await self.scan(folder)
        check_inputs_from(scan.manifest, self._connection.conf.input_path, inputs_of)
        await self._check_free(pid)
        if parts is None:
            parts = await self._slots()
        if scanned:
            scanned(scan)
        conf = self._connection.conf
        key = clock.token(6)
        text = await asyncio.to_thread(requirements.read, folder, scan.manifest)
        part_bytes = await asyncio.to_thread(most_bytes_of_a_part, scan.manifest, conf.input_path, inputs, parts)
        spec = JobSpec(
            process_id=pid,
            key=key,
            parts=parts,
            tree="",  # known after the upload
            tree_bytes=scan.manifest.size,
            tree_files=len(scan.manifest.files),
            part_bytes=part_bytes,
            request=request or Request(),
            args=tuple(args),
            env=dict(env or {}),
            inputs=inputs,
            collect=tuple(collect),
            owner=owner(),
            input_path=conf.input_path,
            output_path=conf.output_path,
            attempts=retries + 1,
            lost_attempts=lost_retries,
            priority=priority,
            time_limit=time_limit,
            deadline=deadline,
            memory_limit=memory_limit,
            max_failures=max_failures,
            second_attempts=second_attempts,
            require=requirements.required(require, text),
            together=together,
            after=done_of,
            after_any=any_of,
            inputs_from=inputs_of,
            requirements=requirements.packages_in(text),
        )
        check_job(spec)
        await check_known(spec, lambda other: self._ask("job.status", AboutJob(other), JobStatus))
        up = await self._upload(scan, pid, f"program-{key}", moved)
        try:
            # Repeated while the master is away; by the job's key it knows a job that it has accepted.
            status = await self._ask_on("job.submit", attrs.evolve(spec, tree=up.digest), JobStatus)
        except NoSuchJob:  # cleared during the upload, which nobody would ever use
            with contextlib.suppress(DiscomputifyError):
                await (await self._met_store()).clear(pid)
            raise
        self._returning.brought(pid, scan)
        upload = Upload(up.files, up.bytes, up.blobs_sent, up.bytes_sent)
        return Submitted(status, upload, scan.ignored, requirements.plain_lines(text)[1])

    async def resubmit(
        self,
        process_id: str,
        folder: Path | str | None = None,
        *,
        moved: Moved | None = None,
        scanned: Callable[[trees.Scan], None] | None = None,
    ) -> Submitted:
        """Run those parts of an ended job again that are not done, with the program as it is now.

        Everything else about the job stays as it was submitted, and finished outputs stay; budgets are fresh.

        Args:
            folder: the program; None: as it is in the store.
            moved: told the bytes that were uploaded, as they are.
            scanned: shown the folder's contents before they are uploaded.

        Raises:
            BadInput: the job has not ended, or is done; or the folder cannot be used.
            NoSuchJob: there is none of that id.
            StoreFull: the store or the master has no room.
            Unreachable: no master, or no store.
        """
        pid = check_process_id(process_id)
        before = await self._ask("job.to_resubmit", AboutJob(pid), JobSpec)
        spec = attrs.evolve(before, key=clock.token(6), owner=owner())
        if folder is None:
            spec = await self._as_in_the_store(spec)
            status = await self._ask_on("job.resubmit", spec, JobStatus)
            return Submitted(status, Upload(spec.tree_files, spec.tree_bytes, 0, 0))
        scan = await self.scan(Path(folder))
        text = await asyncio.to_thread(requirements.read, Path(folder), scan.manifest)
        check_inputs_from(scan.manifest, spec.input_path, spec.inputs_from)
        if scanned:
            scanned(scan)
        spec = attrs.evolve(
            spec,
            requirements=requirements.packages_in(text),
            require=requirements.required_again(before.require, before.requirements, text),
        )
        spec = check_job(await _with_tree(spec, scan.manifest, ""))
        # What the job has in the store already stays whatever happens.
        up = await trees.upload(scan, await self._met_store(), pid, f"program-{spec.key}", moved)
        status = await self._ask_on("job.resubmit", attrs.evolve(spec, tree=up.digest), JobStatus)
        self._returning.brought(pid, scan)
        upload = Upload(up.files, up.bytes, up.blobs_sent, up.bytes_sent)
        return Submitted(status, upload, scan.ignored, requirements.plain_lines(text)[1])

    async def _as_in_the_store(self, spec: JobSpec) -> JobSpec:
        """*spec* with its program as it was uploaded: outputs of other jobs that joined it are joined again."""
        if not spec.inputs_from:
            return spec
        store = await self._met_store()
        joined = await store.manifest(spec.process_id, check_digest(spec.tree))
        taken = tuple(f"{spec.input_path}/{each}" for each in spec.inputs_from)
        own = [each for each in joined.entries if not any(f"{each.path}/".startswith(f"{name}/") for name in taken)]
        manifest = Manifest(own)
        return await _with_tree(spec, manifest, await store.commit(spec.process_id, f"program-{spec.key}", manifest))

    async def start(
        self,
        process_id: str,
        parts: int | None = None,
        *,
        per_node: int = 0,
        request: Request | None = None,
        replace: bool = False,
    ) -> JobStatus:
        """Start what :meth:`upload` brought as a job.

        Args:
            parts: how many; None: as many as the cluster has slots.
            per_node: at most so many at once on one node; 0: as many as fit.
            request: what one part needs.
            replace: forget an ended job of that id first; what was uploaded for it is started again.

        Raises:
            NoSuchTree: nothing was uploaded for that id; an ended job of it is not forgotten then.
            BadInput: what was uploaded is no program.
            JobExists: the process id is in use.
            Unreachable: no master, no store, or (without *parts*) no computing node.
        """
        pid = check_process_id(process_id)
        if parts is not None:
            check_parts(parts)
        ended = await self._check_free(pid, or_ended=replace)
        store = await self._met_store()
        # An old client may have uploaded it, with folders around it.
        manifest = program_in(await store.manifest(pid, await self._uploaded(store, pid)))
        conf = self._connection.conf
        parts = parts or await self._slots()
        key = clock.token(6)
        spec = JobSpec(
            process_id=pid,
            key=key,
            parts=parts,
            # Of its own name: an upload that comes while the job runs must not take its files away.
            tree=await store.commit(pid, f"program-{key}", manifest),
            tree_bytes=manifest.size,
            tree_files=len(manifest.files),
            part_bytes=await asyncio.to_thread(most_bytes_of_a_part, manifest, conf.input_path, "all", parts),
            request=request or Request(),
            owner=owner(),
            input_path=conf.input_path,
            output_path=conf.output_path,
            per_node=per_node,
        )
        check_job(spec)
        if ended:  # not forgotten before it is sure that there is something to start
            with contextlib.suppress(NoSuchJob, BadInput):  # somebody else was quicker: the next answer says so
                await self._ask_bytes("job.clear", ClearAsked(pid, keep_files=True))
        return await self._ask("job.submit", spec, JobStatus)


async def _with_tree(spec: JobSpec, manifest: Manifest, tree: Digest | str) -> JobSpec:
    """*spec* with another program."""
    return attrs.evolve(
        spec,
        tree=tree,
        tree_bytes=manifest.size,
        tree_files=len(manifest.files),
        part_bytes=await asyncio.to_thread(most_bytes_of_a_part, manifest, spec.input_path, spec.inputs, spec.parts),
    )


def _check_limits(**limits: float) -> None:
    """See that each is a number that it can be.

    Raises:
        BadInput: one is not; names it.
    """
    for name, value in limits.items():
        least = -MOST_LIMIT if name == "priority" else 0
        if not math.isfinite(value) or not least <= value <= MOST_LIMIT:
            raise BadInput(f"{name}={value!r}: give a number from {least:,} to {MOST_LIMIT:,}.")
