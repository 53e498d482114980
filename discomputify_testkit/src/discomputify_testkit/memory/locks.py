"""M-40 … M-48: locks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from discomputify_core.errors import LockLost
from discomputify_core.model.memory import Get, Lock, Put, Renew, Unlock
from discomputify_testkit.memory.base import LONG, SHORT, WAIT, MemorySuite, Part, loaded, parts_of, plain, within
from discomputify_testkit.running import async_test


async def taken(part: Part, lease: float = LONG, wait: float = 0.0) -> int:
    """The token of the lock "l", which *part* holds now."""
    answer = await part.do(Lock("l", lease), wait)
    assert answer.found
    assert isinstance(answer.number, int)
    return answer.number


async def pass_time(part: Part) -> None:
    """Let SHORT seconds and some more go by: a wait for what nobody makes."""
    assert not (await part.do(Get("never"), wait=SHORT * 1.5)).found


class Locks(MemorySuite):
    """Clauses about locks."""

    @async_test
    async def test_m_40_a_lock_has_one_holder_and_tokens_grow(self, tmp_path: Path) -> None:
        """M-40."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect(), connect())
            tokens = []
            for part, other in ((one, two), (two, one), (two, one)):
                tokens.append(await taken(part))
                assert not (await other.do(Lock("l", LONG))).found
                assert (await other.do(Lock(f"another {len(tokens)}", LONG))).found
                await part.do(Unlock("l", tokens[-1]))
            assert tokens == sorted(set(tokens))
            assert tokens[0] > 0

    @async_test
    async def test_m_41_who_waits_for_a_lock_gets_it_in_the_order_of_coming(self, tmp_path: Path) -> None:
        """M-41."""
        async with self.make_memory(tmp_path) as connect:
            first, *waiting = parts_of(connect(), connect(), total=6)
            token = await taken(first)
            holder, order = first, []
            tasks = {part: await part.waits(Lock("l", LONG)) for part in waiting}
            assert not (await first.do(Lock("l", LONG))).found
            while tasks:
                await holder.do(Unlock("l", token))
                done, _ = await within(asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED))
                (holder,) = [part for part, task in tasks.items() if task in done]
                answer = tasks.pop(holder).result()
                assert answer.number > token
                token = int(answer.number)
                order.append(holder)
            assert order == waiting

    @async_test
    async def test_m_42_a_lock_whose_lease_ends_goes_to_the_next(self, tmp_path: Path) -> None:
        """M-42."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect(), connect())
            started = asyncio.get_running_loop().time()
            old = await taken(one, lease=SHORT)
            new = await taken(two, wait=WAIT)
            assert SHORT * 0.9 < asyncio.get_running_loop().time() - started < WAIT
            assert new > old
            for command in (Unlock("l", old), Renew("l", old, LONG)):
                with pytest.raises(LockLost) as caught:
                    await one.do(command)
                assert caught.value.fields["name"] == "l"
            assert not (await one.do(Lock("l", LONG))).found
            await two.do(Unlock("l", new))

    @async_test
    async def test_m_43_a_lock_whose_lease_ended_is_not_held_though_nobody_waits(self, tmp_path: Path) -> None:
        """M-43."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect())
            for command in (Renew, Unlock):
                old = await taken(one, lease=SHORT)
                await pass_time(two)
                with pytest.raises(LockLost):
                    await one.do(Renew("l", old, LONG) if command is Renew else Unlock("l", old))
            new = await taken(two)
            assert new > old
            with pytest.raises(LockLost):
                await one.do(Unlock("l", old))

    @async_test
    async def test_m_44_a_lock_that_is_renewed_is_held_on(self, tmp_path: Path) -> None:
        """M-44."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect())
            token = await taken(one, lease=SHORT * 3)
            await one.do(Renew("l", token, LONG))
            assert not (await two.do(Lock("l", LONG), wait=SHORT * 4)).found
            await one.do(Renew("l", token, SHORT))
            await taken(two, wait=WAIT)

    @async_test
    async def test_m_45_only_the_token_of_now_counts(self, tmp_path: Path) -> None:
        """M-45."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect())
            token = await taken(one)
            for wrong in (token + 1, token - 1, 0):
                for command in (Unlock("l", wrong), Renew("l", wrong, LONG)):
                    with pytest.raises(LockLost):
                        await one.do(command)
            assert not (await two.do(Lock("l", LONG))).found
            await one.do(Unlock("l", token))
            for name in ("l", "never held"):
                with pytest.raises(LockLost):
                    await one.do(Unlock(name, token))

    @async_test
    async def test_m_46_an_attempt_waits_for_its_own_lock_as_others_do(self, tmp_path: Path) -> None:
        """M-46."""
        async with self.make_memory(tmp_path) as connect:
            one, *_ = parts_of(connect())
            token = await taken(one)
            assert not (await one.do(Lock("l", LONG))).found
            waiting = await one.waits(Lock("l", LONG))
            await one.do(Unlock("l", token))
            assert (await within(waiting)).number > token

    @async_test
    async def test_m_47_a_lock_is_never_held_twice(self, tmp_path: Path) -> None:
        """M-47."""
        turns = 8
        async with self.make_memory(tmp_path) as connect:
            parts = parts_of(connect(), connect(), total=8)
            await parts[0].do(Put("n", plain(0)))
            inside: list[int] = []

            async def count(part: Part) -> None:
                for _ in range(turns):
                    token = await taken(part, wait=WAIT)
                    inside.append(part.number)
                    assert inside == [part.number]
                    number = loaded((await part.do(Get("n"))).value)
                    assert isinstance(number, int)
                    await part.do(Put("n", plain(number + 1)))
                    inside.remove(part.number)
                    await part.do(Unlock("l", token))

            await asyncio.gather(*(count(part) for part in parts))
            assert loaded((await parts[0].do(Get("n"))).value) == turns * len(parts)

    @async_test
    async def test_m_48_who_has_given_up_does_not_get_the_lock(self, tmp_path: Path) -> None:
        """M-48."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three = parts_of(connect(), connect())
            token = await taken(one)
            late = two.start(Lock("l", LONG), wait=SHORT)
            patient = await three.waits(Lock("l", LONG))
            assert not (await within(late)).found
            await one.do(Unlock("l", token))
            assert (await within(patient)).found
