"""Services that are away while somebody waits: who is told, and when."""

import asyncio

import pytest

from discomputify_core.client import away
from discomputify_core.client.away import Absence, Away
from discomputify_testkit.running import run


@pytest.fixture(autouse=True)
def moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(away, "MOMENT", 0.01)


def test_one_that_waits_is_told_once_and_again_when_it_is_back() -> None:
    async def main() -> None:
        told: asyncio.Queue[Away] = asyncio.Queue()
        absence = Absence("master", "host:1", told.put_nowait)
        with absence.waited_for():
            absence.missed()
            absence.missed()
            gone = await told.get()
            assert (gone.role, gone.address, gone.back) == ("master", "host:1", False)
            absence.missed()
            absence.answered()
            back = await told.get()
            assert (back.since, back.back) == (gone.since, True)
            absence.answered()
        assert told.empty()

    run(main())


def test_nobody_is_told_of_what_nobody_waits_for_nor_of_a_short_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        told: list[Away] = []
        absence = Absence("store", "host:1", told.append)
        absence.missed()
        await asyncio.sleep(0.05)
        assert told == []
        with absence.waited_for():
            absence.missed()  # it is away for a moment already
        assert len(told) == 1
        absence.answered()
        monkeypatch.setattr(away, "MOMENT", 60.0)
        with absence.waited_for():
            absence.missed()
            absence.answered()
        assert [each.back for each in told] == [False, True]

    run(main())
