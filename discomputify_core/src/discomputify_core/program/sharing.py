"""How a program comes to its shared memory. Everything behind it is loaded by the first call."""

from __future__ import annotations

from discomputify_core.program.here import part, total_parts

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from discomputify_core.program.shared_memory import Memory


class Absent:
    """The kind of ``ABSENT``."""

    def __repr__(self) -> str:
        return "ABSENT"


#: For ``compare_and_set``: where nothing is there.
ABSENT = Absent()

_memory: Memory | None = None


def memory() -> Memory:
    """The shared memory of this job: values, locks and rounds that all its parts see, and nobody else.

    ::

        memory = program.memory()
        memory["best"] = 3.5
        memory.increment("done")
        total = memory.reduce("sum", value)

    There is one per process, for all its threads and forked children; asking for it again costs nothing.

    Raises:
        NoSharedMemory: the conf of this cluster names none.
        NotInAPart: this process is not a part of a job.
        ProgramError: the computing node does not answer.
    """
    global _memory
    if _memory is None:
        which, total = part(), total_parts()
        from discomputify_core.program.agent_line import give_back, open_line
        from discomputify_core.program.shared_memory import Memory

        give_back(open_line())
        _memory = Memory(which, total)
    return _memory
