"""Who is sent to whom for a blob, by a clock that is a number."""

from __future__ import annotations

from discomputify_core.interfaces.files import Source
from discomputify_ftp.sources import AT_ONCE, GRACE, KEEP, MOST_BLOBS, PAUSE, Sources

MIB = 1024 * 1024


def test_the_store_serves_a_few_and_the_others_come_again() -> None:
    sources = Sources()
    found = [sources.source("d", MIB, f"n{number}", "", 0.0) for number in range(AT_ONCE + 2)]
    assert found == [Source()] * AT_ONCE + [Source(wait=PAUSE)] * 2


def test_each_that_has_it_serves_others_so_that_it_spreads_in_few_rounds() -> None:
    sources, lacking, rounds, from_store = Sources(), [f"n{number}" for number in range(200)], 0, 0
    while lacking:
        rounds += 1
        served = []
        for who in lacking:
            found = sources.source("d", MIB, who, "", rounds)
            if not found.wait:
                served.append(who)
                from_store += not found.address
        for who in served:
            sources.shares("d", who, rounds)
        lacking = [who for who in lacking if who not in served]
    assert rounds <= 6
    assert from_store <= AT_ONCE * rounds


def test_nobody_is_sent_to_itself_nor_to_where_it_failed() -> None:
    sources = Sources()
    sources.shares("d", "one", 0.0)
    assert sources.source("d", MIB, "two", "", 1.0) == Source("one")
    assert sources.source("d", MIB, "two", "one", 1.0) == Source()
    assert sources.source("d", MIB, "three", "", 1.0) == Source()
    sources.shares("d", "two", 2.0)
    assert sources.source("d", MIB, "two", "", 3.0) == Source()  # it has lost it


def test_who_never_says_that_it_is_done_does_not_keep_others_waiting_for_ever() -> None:
    sources = Sources()
    for number in range(AT_ONCE):
        sources.source("d", 0, f"n{number}", "", 0.0)
    assert sources.source("d", 0, "other", "", GRACE - 0.1).wait
    assert sources.source("d", 0, "other", "", GRACE + 0.1) == Source()


def test_what_a_node_had_long_ago_is_not_believed() -> None:
    sources = Sources()
    sources.shares("d", "one", 0.0)
    assert sources.source("d", 0, "two", "", KEEP + 1) == Source()


def test_only_so_many_blobs_are_remembered() -> None:
    sources = Sources()
    for number in range(MOST_BLOBS + 1):
        sources.shares(str(number), "one", 0.0)
    assert sources.source("0", 0, "two", "", 1.0) == Source()
    assert sources.source(str(MOST_BLOBS), 0, "two", "", 1.0) == Source("one")
