"""Jobs that a new job is to follow, as callers name them: by their ids, or by what they got for them.

Here: from that to ids, and whether there are such jobs. Not here: what waiting means (cluster/dependencies.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, Union

from discomputify_core.errors import BadInput, NoSuchJob
from discomputify_core.model.ids import ProcessId, check_process_id
from discomputify_core.model.job import JobSpec


class HasProcessId(Protocol):
    """Whatever stands for a job: ``Submitted``, ``JobStatus``…"""

    @property
    def process_id(self) -> ProcessId:
        """The job's id."""


Job = Union[str, HasProcessId]
Jobs = Union[Job, Iterable[Job]]


def ids_of(jobs: Jobs, argument: str) -> tuple[ProcessId, ...]:
    """The ids of *jobs* (one, or several), each once.

    Args:
        argument: what the caller calls them.

    Raises:
        BadInput: one of them stands for no job, or has an id that no job can have.
    """
    several = jobs if isinstance(jobs, Iterable) and not isinstance(jobs, str) else (jobs,)
    return tuple(dict.fromkeys(_id_of(job, argument) for job in several))


async def check_known(spec: JobSpec, status: Callable[[ProcessId], Awaitable[object]]) -> None:
    """See, before anything is uploaded for it, that all jobs are known that a new one is to follow.

    Args:
        status: asks the cluster for a job.

    Raises:
        NoSuchJob: one is not.
    """
    named = (("--inputs-from", spec.inputs_from), ("--after", spec.after), ("--after-any", spec.after_any))
    options: dict[ProcessId, str] = {}
    for option, process_ids in named:
        for process_id in process_ids:
            options.setdefault(process_id, option)
    for process_id, option in options.items():
        try:
            await status(process_id)
        except NoSuchJob as error:
            raise NoSuchJob(f"{option} {process_id}: {error}", **error.fields) from None


def _id_of(job: object, argument: str) -> ProcessId:
    found = job if isinstance(job, str) else getattr(job, "process_id", None)
    if not isinstance(found, str):
        raise BadInput(
            f"{argument}={job!r:.100}: give ids of jobs, or what submit or status gave for them, such as after=[job]."
        )
    return check_process_id(found)
