"""Fetches that go on over what a master forgot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import attrs

from discomputify_core.client.client import Client
from discomputify_core.client.fetching import Fetching
from discomputify_core.interfaces.files import Blob
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.job import JobState, JobStatus, PartCounts, PartOutput
from discomputify_core.model.message import Outputs, OutputsAsked
from discomputify_testkit.confs import make_conf
from discomputify_testkit.fakes.memory_store import MemoryStore
from discomputify_testkit.fakes.options import MemoryOptions
from discomputify_testkit.running import run

JOB = ProcessId("job")
RUNNING = JobStatus(JOB, JobState.RUNNING, PartCounts(2, running=1, done=1), 0.0, version=1)
DONE = attrs.evolve(RUNNING, state=JobState.DONE, parts=PartCounts(2, done=2), version=2, ended_at=1.0)


class Forgetful:
    """As much of a client as a fetch needs; its master kills itself after the first outputs that it told."""

    def __init__(self, before: list[PartOutput], after: list[PartOutput]) -> None:
        self._before, self._after = before, after
        self.status = RUNNING

    async def committed(self, operation: str, question: Any, kind: type, *, patient: bool = False) -> Any:
        if operation == "job.status":
            return self.status
        if operation == "job.failed":
            return Outputs(ended=True)
        asked = cast(OutputsAsked, question)
        known = self._before if self.status is RUNNING else self._after
        return Outputs(tuple(known[asked.after :]), len(known), ended=self.status is DONE)

    async def changes(self, process_id: str, since: int, **_: Any) -> AsyncIterator[JobStatus]:
        self.status = DONE
        yield DONE

    async def with_store(self, work: Callable[[], Awaitable[Any]], *, patient: bool) -> Any:
        return await work()


async def made(store: MemoryStore, folder: Path, part: int) -> PartOutput:
    path = folder / str(part)
    path.write_text(f"part {part}", encoding="utf-8")
    hasher = store.hasher()
    hasher.update(path.read_bytes())
    blob = Blob(hasher.digest(), path.stat().st_size, path)
    await store.put(JOB, [blob])
    manifest = Manifest([Entry("outputs/said", blob.size, blob.digest)])
    digest = await store.commit(JOB, f"outputs.{part}", manifest)
    return PartOutput(part, 1, AttemptId(f"job.{part}.1.key"), digest)


def test_what_moved_to_a_position_that_was_passed_comes_home(tmp_path: Path) -> None:
    async def main() -> None:
        store = MemoryStore(make_conf(), MemoryOptions())
        one, two = [await made(store, tmp_path, part) for part in (1, 2)]
        client = Forgetful([one], [two, one])  # when it began again it was told of the other part first
        fetching = Fetching(cast(Client, client), store, RUNNING, tmp_path / "out", None)
        await fetching.run(None, follow=True)
        assert fetching.result().parts == 2
        for part in (1, 2):
            said = tmp_path / "out" / "job" / f"job_{part}_2" / "said"
            assert said.read_text(encoding="utf-8") == f"part {part}"

    run(main())
