"""What a service remembers of requests: each is done once, and memory stays small."""

import asyncio

import pytest

from discomputify_core.edge.answers import KEEP, MAX_CLIENTS, MAX_KEPT, Answers
from discomputify_core.errors import Refused
from discomputify_core.model.message import ANSWER, Message, RequestId
from discomputify_testkit.running import run

CLIENT = b"c" * 16


def request(number: int, client: bytes = CLIENT) -> RequestId:
    return RequestId(client, number)


def answered(answers: Answers, number: int, body: bytes = b"", client: bytes = CLIENT) -> None:
    assert answers.find(request(number, client), 0, 0.0) is None
    future = answers.begin(request(number, client))
    answers.finish(request(number, client), future, Message(ANSWER, {"ok": number}, body))


def test_an_answer_is_found_again_until_it_is_settled() -> None:
    async def main() -> None:
        answers = Answers()
        answered(answers, 1)
        answered(answers, 2)
        found = answers.find(request(1), 1, 1.0)
        assert found is not None
        assert (await found).data == {"ok": 1}
        assert answers.find(request(3), 2, 1.0) is None
        found = answers.find(request(2), 2, 1.0)
        assert found is not None
        assert found.result().data == {"ok": 2}

    run(main())


def test_a_settled_request_that_comes_late_is_refused_and_not_done_again() -> None:
    async def main() -> None:
        answers = Answers()
        answered(answers, 1)
        assert answers.find(request(2), 2, 0.0) is None
        with pytest.raises(Refused, match="late"):
            answers.find(request(1), 1, 0.0)

    run(main())


def test_whoever_waits_for_an_answer_gets_it_even_if_it_was_settled_meanwhile() -> None:
    async def main() -> None:
        answers = Answers()
        assert answers.find(request(1), 1, 0.0) is None
        future = answers.begin(request(1))
        waiting = asyncio.ensure_future(asyncio.shield(future))
        assert answers.find(request(2), 2, 0.0) is None  # the client gave the first one up
        answers.finish(request(1), future, Message(ANSWER, {"ok": 1}))
        assert (await waiting).data == {"ok": 1}

    run(main())


def test_a_request_under_way_is_found_as_the_same_future() -> None:
    async def main() -> None:
        answers = Answers()
        assert answers.find(request(7), 7, 0.0) is None
        future = answers.begin(request(7))
        assert answers.find(request(7), 7, 0.0) is future

    run(main())


def test_answers_with_big_bodies_are_not_kept() -> None:
    async def main() -> None:
        answers = Answers()
        answered(answers, 1, b"x" * MAX_KEPT)
        answered(answers, 2, b"x" * (MAX_KEPT + 1))
        assert answers.find(request(1), 1, 0.0) is not None
        assert answers.find(request(2), 1, 0.0) is None

    run(main())


def test_clients_are_forgotten_after_ten_minutes() -> None:
    async def main() -> None:
        answers = Answers()
        answered(answers, 1)
        other = request(1, b"d" * 16)
        assert answers.find(other, 0, KEEP - 1) is None
        assert answers.find(request(1), 0, KEEP - 1) is not None  # heard of again
        assert answers.find(other, 0, 3 * KEEP) is None
        assert answers.find(request(1), 0, 3 * KEEP) is None

    run(main())


def test_the_number_of_clients_is_bounded() -> None:
    async def main() -> None:
        answers = Answers()
        for number in range(MAX_CLIENTS + 1):
            answered(answers, 1, client=number.to_bytes(16, "big"))
        assert answers.find(request(1, (0).to_bytes(16, "big")), 0, 0.0) is None
        assert answers.find(request(1, MAX_CLIENTS.to_bytes(16, "big")), 0, 0.0) is not None

    run(main())
