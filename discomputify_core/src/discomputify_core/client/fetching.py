"""Bringing outputs and logs of a job home, part by part, each complete or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from discomputify_core.client import home
from discomputify_core.client.results import Fetched
from discomputify_core.edge import trees
from discomputify_core.errors import BadInput, DiskError
from discomputify_core.interfaces.files import Blob, FileStore, Moved
from discomputify_core.model.files import Digest, Entry, Manifest, check_digest, check_path
from discomputify_core.model.ids import AttemptId
from discomputify_core.model.job import JobStatus, PartOutput
from discomputify_core.model.message import AboutJob, Outputs, OutputsAsked

if TYPE_CHECKING:
    from discomputify_core.client.client import Client

T = TypeVar("T")

#: Parts fetched at once.
AT_ONCE = 16


class Fetching:
    """One fetch of one job into ``OUT/PROCESS_ID``.

    Args:
        client: asks the master which outputs count.
        store: has them.
        status: the job.
        out: where its folder goes.
        moved: told the bytes that arrived, as they do.
        below: a folder inside each part's, for its outputs; "" for none.
        logs: bring logs, too.
    """

    def __init__(
        self,
        client: Client,
        store: FileStore,
        status: JobStatus,
        out: Path,
        moved: Moved | None,
        *,
        below: str = "",
        logs: bool = True,
    ) -> None:
        self._client = client
        self._store = store
        self._status = status
        self._moved = moved
        self._below = check_path(below) if below else ""
        self._with_logs = logs
        #: Whether a master or store that goes away is waited for however long.
        self._patient = False
        self.folder = out / status.process_id
        self._files = self._bytes = 0
        #: Which attempt's outputs are home, by part.
        self._have: dict[int, AttemptId] = {}
        #: Whether outputs of an earlier job of that id had to make room.
        self.replaced = False

    def result(self) -> Fetched:
        """What was fetched."""
        return Fetched(str(self.folder), len(self._have), self._files, self._bytes, self.replaced)

    async def run(self, part: int | None, follow: bool) -> None:
        """Fetch one part, or all that are done; with *follow* until the job has ended."""
        self._patient = follow
        self.replaced = await asyncio.to_thread(home.prepare, self.folder, self._status, logs=self._with_logs)
        if part is not None:
            await self._fetch_all([await self._one(part)])
            return
        after = 0
        while True:
            seen = await self._now() if follow else self._status
            after = await self._committed(after)
            if seen.ended or not follow:
                break
            async for _ in self._client.changes(seen.process_id, seen.version):
                break
        await self._mend()
        if self._with_logs:
            await self._failed()

    async def _now(self) -> JobStatus:
        return await self._ask("job.status", AboutJob(self._status.process_id), JobStatus)

    async def _ask(self, operation: str, question: Any, kind: type[T]) -> T:
        return await self._client.committed(operation, question, kind, patient=self._patient)

    async def _committed(self, after: int) -> int:
        """Fetch what was committed from position *after* on; returns the next position."""
        while True:
            asked = OutputsAsked(self._status.process_id, after)
            found = await self._ask("job.outputs", asked, Outputs)
            await self._fetch_all(found.outputs)
            if found.next == after:
                return after
            after = found.next

    async def _mend(self) -> None:
        """Where parts that were done had to start again, meanwhile or before: leave nothing that does not count.

        And bring what is lacking: a master that lost some of what it had written down counts positions anew.
        """
        seen = await self._now()
        if not seen.generation and len(self._have) >= seen.parts.done:
            return
        done: set[int] = set()
        after = 0
        while True:
            asked = OutputsAsked(self._status.process_id, after)
            found = await self._ask("job.outputs", asked, Outputs)
            done.update(output.part for output in found.outputs)
            await self._fetch_all(output for output in found.outputs if self._have.get(output.part) != output.attempt)
            if found.next == after:
                break
            after = found.next
        for part in await asyncio.to_thread(home.keep_only, self.folder, done):
            self._have.pop(part, None)

    async def _failed(self) -> None:
        """Logs of parts that failed for good."""
        after = 0
        while True:
            asked = OutputsAsked(self._status.process_id, after)
            found = await self._ask("job.failed", asked, Outputs)
            await self._fetch_all(found.outputs)
            if found.ended:
                return
            after = found.next

    async def _one(self, part: int) -> PartOutput:
        attempts = await self._client.attempts(self._status.process_id, part)
        for attempt in reversed(attempts):
            if attempt.manifest:
                return PartOutput(part, attempt.number, attempt.attempt, attempt.manifest, attempt.end)
        raise BadInput(
            f"Part {part} of '{self._status.process_id}' has nothing to fetch yet. "
            f"See: discomputify why {self._status.process_id}.{part}"
        )

    async def _fetch_all(self, outputs: Iterable[PartOutput]) -> None:
        room = asyncio.Semaphore(AT_ONCE)

        async def fetch(output: PartOutput) -> None:
            async with room:
                files, size = await self._client.with_store(lambda: self._fetch(output), patient=self._patient)
                self._files += files
                self._bytes += size

        tasks = [asyncio.ensure_future(fetch(output)) for output in outputs if output.manifest]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch(self, output: PartOutput) -> tuple[int, int]:
        """Bring what one attempt left; returns how many files and bytes that were, logs aside."""
        came: list[Manifest] = []
        pid = self._status.process_id
        manifest = await self._store.manifest(pid, check_digest(output.manifest))
        if output.state == "done":
            folder = self.folder / f"{pid}_{output.part}_{self._status.parts.total}"
            came.append(await self._tree(_placed(manifest.under("outputs"), self._below), folder))
            self._have[output.part] = output.attempt
        collected = manifest.under("collected")
        if collected.entries:
            came.append(await self._tree(collected, self.folder / "collected" / str(output.part)))
        elif output.number > 1:
            await asyncio.to_thread(home.remove_collected, self.folder, output.part)
        if self._with_logs:
            await self._logs(manifest.under("logs"), output.part)
        return sum(len(each.files) for each in came), sum(each.size for each in came)

    async def _tree(self, manifest: Manifest, folder: Path) -> Manifest:
        await trees.download(self._store, self._status.process_id, manifest, folder, self._moved)
        return manifest

    async def _logs(self, manifest: Manifest, part: int) -> None:
        held = {entry.path: entry for entry in manifest.files}
        blobs = []
        for stream in ("out", "err"):
            target = self.folder / "logs" / f"{part}.{stream}"
            entry = held.get(stream)
            if entry is None:  # a stream that nothing was written to is not kept
                await asyncio.to_thread(_write_empty, target)
            else:
                blobs.append(Blob(Digest(entry.digest), entry.size, target))
        if blobs:
            await self._store.get(self._status.process_id, blobs, self._moved)


def _placed(manifest: Manifest, below: str) -> Manifest:
    """*manifest* with everything inside the folder *below*, which is there even if nothing is in it."""
    if not below:
        return manifest
    entries = [attrs.evolve(entry, path=f"{below}/{entry.path}") for entry in manifest.entries]
    return Manifest(entries or [Entry(below, folder=True)])


def _write_empty(path: Path) -> None:
    try:
        path.write_bytes(b"")
    except OSError as error:
        raise DiskError(f"'{path}' cannot be written: {error.strerror}.", path=str(path)) from error
