"""Random commands, one after the other: the server answers what the plain table of the test kit answers."""

from __future__ import annotations

import json
import secrets

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from discomputify_core.errors import DiscomputifyError
from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.memory import (
    AGAIN,
    BARRIER,
    BROADCAST,
    DONE,
    GATHER,
    GONE,
    JSON,
    REF,
    Add,
    Append,
    Command,
    Get,
    Limits,
    Lock,
    Meet,
    Member,
    Names,
    Over,
    Pop,
    Put,
    Remove,
    Renew,
    Scope,
    Unlock,
    Value,
)
from discomputify_redis.options import RedisOptions
from discomputify_testkit.fakes.memory_shared import FakeSharedMemory, FakeTable
from discomputify_testkit.running import run

from .redis_kit import client, options_with

TOTAL = 3
#: Small enough to be met.
LIMITS = Limits(job_bytes=1500, job_entries=6, value_bytes=300, history_bytes=900, history_rounds=3)

names = st.sampled_from(["a", "b", "ab", "ß"])
numbers = st.one_of(st.integers(-5, 5), st.sampled_from([2**62, -(2**62), 0.5, 0.1, 1e308, 1e16, 1e-7]))
values = st.one_of(
    numbers.map(lambda number: Value(JSON, json.dumps(number).encode())),
    st.sampled_from([Value("bytes", b"x" * 250), Value("bytes", b"x" * 301), Value(REF, b"", {"id": "1"})]),
)
versions = st.one_of(st.none(), st.integers(0, 8))
rounds = st.builds(
    Meet,
    st.sampled_from([BARRIER, GATHER, BROADCAST]),
    st.sampled_from(["a", "b"]),
    st.integers(1, 3),
    values,
    st.sampled_from([1, 1, 1, 2]),
    st.sampled_from(["", "", "", "sum"]),
)
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(Put, names, values, versions, st.booleans()),
    st.builds(Get, names),
    st.builds(Remove, names),
    st.builds(Add, names, numbers),
    st.builds(Append, names, values),
    st.builds(Pop, names),
    st.builds(Names, st.sampled_from(["", "a", "x"])),
    st.builds(Lock, names, st.just(600.0)),
    st.builds(Renew, names, st.integers(1, 6), st.just(600.0)),
    st.builds(Unlock, names, st.integers(1, 6)),
    rounds,
    rounds,
)
#: Which part asks (its newest attempt, or the one before), and what; or how its newest attempt ends.
steps = st.lists(
    st.tuples(st.integers(1, TOTAL), st.booleans(), commands)
    | st.tuples(st.integers(1, TOTAL), st.just(True), st.sampled_from([AGAIN, AGAIN, AGAIN, DONE, GONE])),
    min_size=20,
    max_size=60,
)


async def asked(memory: SharedMemory, member: Member, what: Command | str) -> object:
    """What *memory* answers, or what counts of its error; *what* may be how the attempt ends, too."""
    try:
        if not isinstance(what, str):
            return await memory.do(member, what)
        over = Over(member.part, member.number, member.attempt, what, "so")
        await memory.ended(member.scope, member.total, [over])
    except DiscomputifyError as error:
        return type(error), error.fields.get("limit"), error.fields.get("parts")
    return None


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # making failures smaller takes minutes here
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=steps)
def test_the_same_answers(options: RedisOptions, steps: list[tuple[int, bool, Command | str]]) -> None:
    async def both() -> None:
        scope = Scope(ProcessId("job"), secrets.token_hex(4))
        plain = FakeSharedMemory(shared=FakeTable(limits=LIMITS))
        newest = dict.fromkeys(range(1, TOTAL + 1), 2)
        async with client(options_with(options, LIMITS)) as real:
            for part, is_newest, what in steps:
                number = newest[part] - (0 if is_newest else 1)
                member = Member(scope, AttemptId(f"{part}.{number}"), part, number, TOTAL)
                told = [await asked(memory, member, what) for memory in (plain, real)]
                assert told[0] == told[1], (part, number, what)
                looked = [await memory.look(scope) for memory in (plain, real)]
                assert (looked[0].size, looked[0].count) == (looked[1].size, looked[1].count), (part, number, what)
                assert looked[0] == looked[1], (part, number, what)
                if what == AGAIN:
                    newest[part] += 1
            await real.clear(scope)

    run(both(), deadline=60.0)
