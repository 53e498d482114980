"""What a service remembers of answered requests, so that a request which arrives again is not done twice.

Per client process: the answers to its state-changing requests, until it says that it has received them or
ten minutes have passed. Here: the memory. Not here: channels (calls.py).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import attrs

from discomputify_core.errors import Refused
from discomputify_core.model.message import Message, RequestId

#: Seconds an answer is kept that nobody settled.
KEEP = 600.0
#: A larger answer is not kept: its request is done again, which only operations without effect should have.
MAX_KEPT = 64 * 1024
#: Client processes remembered at once.
MAX_CLIENTS = 4096


@attrs.define
class _Client:
    seen_at: float = 0.0
    #: It waits for no answer to a request with a lower number.
    settled: int = 0
    answers: OrderedDict[int, asyncio.Future[Message]] = attrs.field(factory=OrderedDict)


class Answers:
    """Answers by request id."""

    def __init__(self) -> None:
        self._clients: OrderedDict[bytes, _Client] = OrderedDict()
        self._working: set[asyncio.Task[None]] = set()

    def find(self, request: RequestId, settled: int, now: float) -> asyncio.Future[Message] | None:
        """The answer (or the future of one that is being worked out) to *request* if it was seen before.

        Forgets what the client has *settled*, and clients not heard of for ten minutes.

        Raises:
            Refused: the client has settled this very request: it came late, over a channel that was given up.
        """
        client = self._clients.get(request.client)
        if client is None:
            client = self._clients[request.client] = _Client()
        client.seen_at = now
        self._clients.move_to_end(request.client)
        self._forget(now)
        client.settled = max(client.settled, settled)
        for number in [number for number in client.answers if number < client.settled]:
            del client.answers[number]
        if request.number < client.settled:
            raise Refused("This request came late: nobody waits for its answer any more, and it is not done again.")
        return client.answers.get(request.number)

    def begin(self, request: RequestId) -> asyncio.Future[Message]:
        """Note that *request*, which :meth:`find` did not know, is being worked on; see :meth:`finish`."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._clients[request.client].answers[request.number] = future
        return future

    def working(self, task: asyncio.Task[None]) -> None:
        """Hold on to *task*, which works out an answer, until it is done."""
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    def finish(self, request: RequestId, future: asyncio.Future[Message], answer: Message) -> None:
        """Give *answer* to those who wait for the *future* of :meth:`begin`, and keep it if it is small."""
        if not future.done():
            future.set_result(answer)
        client = self._clients.get(request.client)
        if client is not None and len(answer.body) > MAX_KEPT:
            client.answers.pop(request.number, None)

    def _forget(self, now: float) -> None:
        while self._clients:
            oldest = next(iter(self._clients.values()))
            if len(self._clients) <= MAX_CLIENTS and now - oldest.seen_at < KEEP:
                return
            self._clients.popitem(last=False)
