"""Whoever waits for a job's next change is woken by it, and nobody is kept in mind for longer than he waits."""

import asyncio

from discomputify_core.model.ids import ProcessId
from discomputify_core.roles.master.watchers import Watchers
from discomputify_testkit.running import run, until

JOB, OTHER = ProcessId("job"), ProcessId("other")


def test_a_change_wakes_all_who_wait_for_that_job_and_nobody_else() -> None:
    async def main() -> None:
        watchers = Watchers()
        waiting = [asyncio.ensure_future(watchers.wait(JOB, 20)) for _ in range(3)]
        other = asyncio.ensure_future(watchers.wait(OTHER, 20))
        await asyncio.sleep(0)
        watchers.wake(JOB)
        await asyncio.wait(waiting, timeout=5)
        assert all(each.done() for each in waiting)
        assert not other.done()
        other.cancel()
        await asyncio.wait([other])
        assert watchers._waiting == {}

    run(main())


def test_waiting_ends_after_a_while_and_leaves_nothing() -> None:
    async def main() -> None:
        watchers = Watchers()
        await watchers.wait(JOB, 0.01)
        assert watchers._waiting == {}
        watchers.wake(JOB)

    run(main())


def test_a_woken_waiter_that_waits_again_is_not_woken_by_the_same_change() -> None:
    async def main() -> None:
        watchers = Watchers()
        woken = 0

        async def watch() -> None:
            nonlocal woken
            while True:
                await watchers.wait(JOB, 20)
                woken += 1

        watching = asyncio.ensure_future(watch())
        await asyncio.sleep(0)
        for wanted in (1, 2, 3):
            watchers.wake(JOB)
            for _ in range(5):
                await asyncio.sleep(0)
            assert woken == wanted
        watching.cancel()
        await asyncio.wait([watching])

    run(main())


def test_a_condition_is_looked_at_after_every_change_until_its_time_is_over() -> None:
    async def main() -> None:
        watchers = Watchers()
        seen: list[int] = []

        def third_look() -> bool:
            seen.append(len(seen))
            return len(seen) == 3

        waiting = asyncio.ensure_future(watchers.until(JOB, third_look, 20))
        await until(lambda: len(seen) == 1 and bool(watchers._waiting))
        watchers.wake(JOB)
        await until(lambda: len(seen) == 2 and bool(watchers._waiting))
        watchers.wake(JOB)
        assert await waiting
        assert not await watchers.until(JOB, lambda: False, 0.01)
        assert await watchers.until(JOB, lambda: True, 0.0)
        assert watchers._waiting == {}

    run(main())
