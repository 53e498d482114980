"""S-1 … S-16: what every policy does, tried on made-up histories."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial

import attrs

from discomputify_core.model.view import Decision, Placement
from discomputify_testkit.scheduler.base import SchedulerSuite, booked, lines_of, placed
from discomputify_testkit.scheduler.cases import (
    Situation,
    big_cluster,
    histories,
    make_node,
    make_ready,
    make_view,
)

#: Made-up histories per clause.
HISTORIES = 150


class Clauses(SchedulerSuite):
    """Clauses about policies."""

    def answers(self) -> Iterator[tuple[Situation, Decision]]:
        """Every pass of every history, and the answer to it."""
        for history in histories(HISTORIES):
            scheduler = self.make_scheduler()
            for situation in history:
                yield situation, scheduler.place(situation.ready, situation.view)

    def test_s_01_without_work_nothing_is_placed(self) -> None:
        """S-1."""
        for history in histories(20):
            assert self.place(Situation((), history[0].view)).placements == ()

    def test_s_02_without_nodes_nothing_is_placed(self) -> None:
        """S-2."""
        for history in histories(20):
            assert self.place(Situation(history[0].ready, make_view())).placements == ()

    def test_s_03_the_answer_is_a_decision_of_placements(self) -> None:
        """S-3."""
        for _, decision in self.answers():
            assert type(decision) is Decision
            for placement in decision.placements:
                assert type(placement) is Placement
                assert type(placement.count) is int
                assert placement.count >= 1

    def test_s_04_only_ranges_and_nodes_that_were_offered_are_named(self) -> None:
        """S-4."""
        for situation, decision in self.answers():
            keys = {ready.key for ready in situation.ready}
            assert {placement.key for placement in decision.placements} <= keys
            assert {placement.node for placement in decision.placements} <= {n.name for n in situation.view.nodes}

    def test_s_05_no_more_parts_are_placed_than_are_ready(self) -> None:
        """S-5."""
        for situation, decision in self.answers():
            counts = placed(decision)
            for ready in situation.ready:
                assert counts[ready.key] <= ready.count

    def test_s_06_no_node_is_given_more_than_it_has_free(self) -> None:
        """S-6."""
        for situation, decision in self.answers():
            assert booked(situation, decision).overdrawn() == []

    def test_s_07_nodes_to_avoid_are_avoided(self) -> None:
        """S-7."""
        for situation, decision in self.answers():
            avoid = {ready.key: ready.avoid for ready in situation.ready}
            assert not [each for each in decision.placements if each.node in avoid[each.key]]

    def test_s_08_what_fits_is_placed_or_told_why_it_waits(self) -> None:
        """S-8."""
        for situation, decision in self.answers():
            books, counts = booked(situation, decision), placed(decision)
            for ready in situation.ready:
                if counts[ready.key] < ready.count and ready.key not in decision.waits:
                    assert books.usable(ready) == [], f"{ready} waits, and nobody says why"

    def test_s_09_a_range_takes_nothing_that_an_earlier_one_could_use(self) -> None:
        """S-9."""
        for situation, decision in self.answers():
            books, counts = booked(situation, decision), placed(decision)
            for ready in reversed(situation.ready):
                # The books are now those before all later ranges.
                if counts[ready.key] < ready.count and ready.key not in decision.waits:
                    assert books.usable(ready) == [], f"{ready} waits behind ranges that come after it"
                for placement in decision.placements:
                    if placement.key == ready.key:
                        books.take(ready.request, placement.node, -placement.count)

    def test_s_10_equal_histories_get_equal_answers(self) -> None:
        """S-10."""
        for history in histories(HISTORIES):
            one, other = self.make_scheduler(), self.make_scheduler()
            for situation in history:
                again = copy.deepcopy(situation)
                assert one.place(situation.ready, situation.view) == other.place(again.ready, again.view)

    def test_s_16_a_copy_answers_as_the_policy_would_and_leaves_it_as_it_was(self) -> None:
        """S-16."""
        for history in histories(HISTORIES):
            asked, never_asked = self.make_scheduler(), self.make_scheduler()
            for situation in history:
                trial = copy.deepcopy(asked).place(situation.ready, situation.view)
                answer = asked.place(situation.ready, situation.view)
                assert trial == answer, "a copy answers otherwise"
                assert answer == never_asked.place(situation.ready, situation.view), "what a copy was asked counts"

    def test_s_11_nothing_that_is_given_is_changed(self) -> None:
        """S-11."""
        for history in histories(HISTORIES):
            scheduler, before = self.make_scheduler(), copy.deepcopy(history)
            for situation in history:
                scheduler.place(situation.ready, situation.view)
            assert history == before

    def test_s_12_reasons_to_wait_are_sentences_about_offered_ranges(self) -> None:
        """S-12."""
        for situation, decision in self.answers():
            assert decision.waits.keys() <= {ready.key for ready in situation.ready}
            assert all(isinstance(why, str) and why for why in decision.waits.values())

    def test_s_13_effort_grows_with_placements_and_not_with_placements_times_nodes(self) -> None:
        """S-13."""
        efforts = []
        for nodes in (100, 400):
            lines, decision = lines_of(partial(self.place, big_cluster(nodes)))
            parts = sum(placed(decision).values())
            assert parts > 4 * nodes
            efforts.append(lines / parts)
        assert efforts[1] < 2 * efforts[0], f"lines of Python per part with 100 and with 400 nodes: {efforts}"

    def test_s_14_effort_does_not_grow_with_parts_that_wait(self) -> None:
        """S-14."""
        view = make_view(*(make_node(f"node{number}", 8) for number in range(5)))
        efforts = []
        for count in (100, 10_000_000):
            situation = Situation((make_ready(0, count), make_ready(1, count)), view)
            efforts.append(lines_of(partial(self.place, situation))[0])
        assert efforts[1] <= efforts[0]

    def test_s_15_the_policy_has_a_name_and_defaults_for_all_its_options(self) -> None:
        """S-15."""
        policy = type(self.make_scheduler())
        assert policy.name
        assert isinstance(policy.name, str)
        if policy.options is not None:
            assert attrs.has(policy.options)
            policy.options()
        situation = Situation((make_ready(0, 3),), make_view(make_node("only")))
        assert placed(policy(None).place(situation.ready, situation.view))[0] == 3
