"""What a service remembers of answered requests, so that a request which arrives again is not done twice.

Per client process: the answers to its state-changing requests, until it says that it has received them or
ten minutes have passed. Here: the memory. Not here: channels (calls.py).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import attrs

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
    answers: OrderedDict[int, asyncio.Future[Message]] = attrs.field(factory=OrderedDict)


class Answers:
    """Answers by request id."""

    def __init__(self) -> None:
        self._clients: OrderedDict[bytes, _Client] = OrderedDict()

    def find(self, request: RequestId, settled: int, now: float) -> asyncio.Future[Message] | None:
        """The answer (or the future of one that is being worked out) to *request* if it was seen before.

        Forgets what the client has *settled*, and clients not heard of for ten minutes.
        """
        client = self._clients.get(request.client)
        if client is None:
            client = self._clients[request.client] = _Client()
        client.seen_at = now
        self._clients.move_to_end(request.client)
        self._forget(now)
        while client.answers and next(iter(client.answers)) < settled:
            client.answers.popitem(last=False)
        return client.answers.get(request.number)

    def begin(self, request: RequestId) -> asyncio.Future[Message]:
        """Note that *request* is being worked on; the caller sets the future's result."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._clients[request.client].answers[request.number] = future
        return future

    def finish(self, request: RequestId, answer: Message) -> None:
        """Keep *answer*, and wake those who wait for it."""
        client = self._clients.get(request.client)
        future = client.answers.get(request.number) if client else None
        if client is None or future is None:
            return
        if not future.done():
            future.set_result(answer)
        if len(answer.body) > MAX_KEPT:
            del client.answers[request.number]

    def _forget(self, now: float) -> None:
        while self._clients:
            oldest = next(iter(self._clients.values()))
            if len(self._clients) <= MAX_CLIENTS and now - oldest.seen_at < KEEP:
                return
            self._clients.popitem(last=False)
