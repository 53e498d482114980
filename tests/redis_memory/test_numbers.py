"""Numbers that the server adds and writes are those that Python adds and writes."""

from __future__ import annotations

import json
import math
import secrets

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from discomputify_core.errors import MemoryFull
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.memory import JSON, Add, Get, Member, Put, Scope, Value
from discomputify_redis.options import RedisOptions
from discomputify_testkit.running import run

from .redis_kit import client

#: Powers of 2 stand where doubles are closer below than above.
fractions = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-1074, 1023).map(lambda power: 2.0**power)
wholes = st.integers(-(2**63), 2**63 - 1)
pairs = st.lists(st.tuples(fractions | wholes, fractions | wholes), min_size=30, max_size=100)


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],  # making failures smaller takes minutes here
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(pairs=pairs)
def test_sums_are_pythons(options: RedisOptions, pairs: list[tuple[float, float]]) -> None:
    async def added() -> None:
        member = Member(Scope(ProcessId("job"), secrets.token_hex(4)), AttemptId("a"), 1, 1, 1)
        async with client(options) as memory:
            for before, by in pairs:
                await memory.do(member, Put("n", Value(JSON, json.dumps(before).encode())))
                whole = isinstance(before, int) and isinstance(by, int)
                expected = before + by
                if not (-(2**63) <= expected < 2**63 if whole else math.isfinite(expected)):
                    with pytest.raises(MemoryFull) as caught:
                        await memory.do(member, Add("n", by))
                    assert caught.value.fields["limit"] == "number"
                    continue
                answer = await memory.do(member, Add("n", by))
                assert (answer.number, type(answer.number)) == (expected, type(expected))
                value = (await memory.do(member, Get("n"))).value
                assert value is not None
                assert value.data == json.dumps(expected).encode()
            await memory.clear(member.scope)

    run(added(), deadline=60.0)
