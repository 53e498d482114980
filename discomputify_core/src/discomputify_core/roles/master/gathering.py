"""Outputs of jobs put among the inputs of a job that follows them, inside the store: no file travels.

Here: reading the manifests of all done parts, joining them with the program's, committing the result as a tree of the
job that is to run. Not here: when (cluster/dependencies.py), how nodes bring inputs into place (roles/node/).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from discomputify_core.edge import clock
from discomputify_core.errors import BadInput, DiscomputifyError, OurBug, StoreError
from discomputify_core.model.events import InputsGathered
from discomputify_core.model.files import Entry, Manifest, check_digest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.inputs import check_inputs_from, most_bytes_of_a_part
from discomputify_core.model.job import JobSpec

if TYPE_CHECKING:
    from discomputify_core.roles.master.master import MasterNode

#: Manifests read at once.
AT_ONCE = 8
#: Seconds between two tries while the store is away.
AGAIN = 2.0
#: Seconds that a commit under way has to end when its job is forgotten.
LAST_COMMIT = 5.0


class Gatherings:
    """The jobs whose inputs are being gathered. One per master."""

    def __init__(self, master: MasterNode) -> None:
        self._master = master
        self._tasks: dict[ProcessId, asyncio.Task[None]] = {}

    def begin(self, spec: JobSpec) -> None:
        """Gather the inputs of the job, and tell the cluster how it went."""
        self._tasks[spec.process_id] = self._master.spawn(self._run(spec))

    async def end(self, process_id: ProcessId) -> None:
        """Return when nothing is being committed for a job of that id that was forgotten."""
        task = self._tasks.get(process_id)
        if task is not None and process_id not in self._master.cluster.state.jobs:
            await asyncio.wait([task], timeout=LAST_COMMIT)
            task.cancel()
            await asyncio.wait([task], timeout=LAST_COMMIT)

    def _wanted(self, spec: JobSpec) -> bool:
        job = self._master.cluster.state.jobs.get(spec.process_id)
        return job is not None and job.spec.key == spec.key and not job.ended

    async def _run(self, spec: JobSpec) -> None:
        found: dict[str, Sequence[Entry]] = {}
        try:
            while self._wanted(spec):
                answer = await self._tried(spec, found)
                self._master.store_fault = "" if answer.final else answer.fault
                self._master.flush(attrs.evolve(answer, wall=clock.wall()))
                if answer.final:
                    return
                await self._master.watchers.until(spec.process_id, lambda: not self._wanted(spec), AGAIN)
        finally:
            if self._tasks.get(spec.process_id) is asyncio.current_task():
                del self._tasks[spec.process_id]

    async def _tried(self, spec: JobSpec, found: dict[str, Sequence[Entry]]) -> InputsGathered:
        """One try. What it has read of outputs is in *found*, by their folders, and is not read again by the next."""
        answer = InputsGathered(spec.process_id, spec.key)
        try:
            await self._read(spec, found)
            return await self._commit(spec, found) if self._wanted(spec) else answer
        except (StoreError, BadInput, OurBug) as error:  # trying again would not help
            return attrs.evolve(answer, fault=f"the outputs of other jobs cannot be put among its inputs: {error}")
        except DiscomputifyError as error:
            return attrs.evolve(answer, fault=f"waiting for the store: {error}", final=False)

    async def _read(self, spec: JobSpec, found: dict[str, Sequence[Entry]]) -> None:
        """Read the manifests of all parts whose outputs are wanted, a few at a time."""
        left = self._rows(spec)

        async def read() -> None:
            for process_id, folder, digest in left:
                if folder not in found and self._wanted(spec):
                    kept = await self._master.store.manifest(process_id, check_digest(digest))
                    found[folder] = await asyncio.to_thread(moved, kept.under("outputs").entries, folder)

        readers = [asyncio.ensure_future(read()) for _ in range(AT_ONCE)]
        try:
            await asyncio.gather(*readers)
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    def _rows(self, spec: JobSpec) -> Iterator[tuple[ProcessId, str, str]]:
        """Of every part whose outputs are wanted: its job, the folder for them, the manifest of its attempt."""
        for process_id in spec.inputs_from:
            job = self._master.cluster.job(process_id)
            for part, _, _, digest in job.outputs.rows():
                # The folders that fetch makes, so that a program finds the same in both places.
                yield process_id, f"{spec.input_path}/{job.id}/{job.id}_{part}_{job.parts.total}", digest

    async def _commit(self, spec: JobSpec, found: dict[str, Sequence[Entry]]) -> InputsGathered:
        store = self._master.store
        program = await store.manifest(spec.process_id, check_digest(spec.tree))
        tree = await asyncio.to_thread(joined, program, spec, found.values())
        return InputsGathered(
            process_id=spec.process_id,
            key=spec.key,
            tree=await store.commit(spec.process_id, f"gathered-{spec.key}", tree),
            tree_bytes=tree.size,
            tree_files=len(tree.files),
            part_bytes=await asyncio.to_thread(most_bytes_of_a_part, tree, spec.input_path, spec.inputs, spec.parts),
        )


def moved(entries: Iterable[Entry], folder: str) -> Sequence[Entry]:
    """*entries* inside *folder*, which is there even if nothing is in it.

    Raises:
        BadPath: a path gets too long by that.
    """
    inside = [attrs.evolve(entry, path=f"{folder}/{entry.path}") for entry in entries]
    return inside or [Entry(folder, folder=True)]


def joined(program: Manifest, spec: JobSpec, outputs: Iterable[Sequence[Entry]]) -> Manifest:
    """The program of the job with *outputs* among its inputs.

    Raises:
        BadInput: it has something itself where they belong.
    """
    check_inputs_from(program, spec.input_path, spec.inputs_from)
    # Only empty folders are listed, and these are not empty any more.
    own = [each for each in program.entries if not (each.folder and f"{spec.input_path}/".startswith(f"{each.path}/"))]
    return Manifest([*own, *(entry for entries in outputs for entry in entries)])
