"""One direction of an in-memory channel: a bounded queue of messages that can end. Knows no addresses and no keys."""

from __future__ import annotations

import asyncio
from collections import deque

from discomputify_core.errors import ChannelClosed
from discomputify_core.model.message import Message

#: Bytes of bodies, and messages, that wait for a reader; a larger message waits alone.
MAX_HELD = 4 * 1024 * 1024
MAX_WAITING = 1000


class MemoryPipe:
    """Messages from one end to the other, in order."""

    def __init__(self) -> None:
        self._waiting: deque[Message] = deque()
        self._held = 0
        self._changed = asyncio.Condition()
        #: Why it ended, for each end; "" while it has not.
        self._writer_reason = ""
        self._reader_reason = ""

    async def put(self, message: Message) -> None:
        """Add *message* once there is room.

        Raises:
            ChannelClosed: the pipe ended.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._writer_reason or self._room_for(message))
            if self._writer_reason:
                raise ChannelClosed(f"The channel is closed: {self._writer_reason}.", reason=self._writer_reason)
            self._waiting.append(message)
            self._held += len(message.body)
            self._changed.notify_all()

    async def take(self) -> Message:
        """The next message.

        Raises:
            ChannelClosed: the pipe ended, and all that was put before was taken.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._reader_reason)
            if not self._waiting:
                raise ChannelClosed(f"The channel is closed: {self._reader_reason}.", reason=self._reader_reason)
            message = self._waiting.popleft()
            self._held -= len(message.body)
            self._changed.notify_all()
            return message

    async def end(self, *, writer: str, reader: str, drop: bool) -> None:
        """End it, with a reason for either end; *drop*: the reader has gone and wants nothing more."""
        async with self._changed:
            if not self._writer_reason:
                self._writer_reason, self._reader_reason = writer, reader
            if drop:
                self._waiting.clear()
                self._held = 0
            self._changed.notify_all()

    def _room_for(self, message: Message) -> bool:
        if not self._waiting:
            return True
        return len(self._waiting) < MAX_WAITING and self._held + len(message.body) <= MAX_HELD
