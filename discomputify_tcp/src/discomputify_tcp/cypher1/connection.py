"""One end of a CYPHER/1 connection as a value, with three verbs: ``receive_data``, ``next_event``, ``send``.

Here: the order of things, and what a token's time allows. Not here: sockets, deadlines, repeats (memory.py).

Time is seconds of the epoch, since tokens carry it. A token that is over ten minutes old or over a minute ahead is
declined. So is one that was made before this service started, unless it changes nothing: what was done before is not
remembered, and the old client, which goes on in spite of a negative answer, would miss a piece of a file that it reads.
"""

from __future__ import annotations

from discomputify_tcp.cypher1 import texts, tokens
from discomputify_tcp.cypher1.errors import broke
from discomputify_tcp.cypher1.events import Content, Declined, Event, Received
from discomputify_tcp.cypher1.inbox import Inbox
from discomputify_tcp.cypher1.limits import END, MAX_AGE, MAX_AHEAD
from discomputify_tcp.cypher1.operations import changes

_MISSED = "This request was made before this service started, which cannot tell whether it was done: ask anew."


class Connection:
    """One end of a connection.

    Args:
        client: whether this end asks; else it answers.
        encryption_key: 32 ASCII characters, the other end's decryption key.
        decryption_key: 32 ASCII characters, the other end's encryption key.
        started: a second of the epoch; tokens made before it change nothing any more.

    Raises:
        OurBug: a key cannot be used.
    """

    def __init__(self, *, encryption_key: str, decryption_key: str, started: int = 0, client: bool = False) -> None:
        self._sealer = tokens.fernet(encryption_key)
        self._opener = tokens.fernet(decryption_key)
        self._started = started
        self._client = client
        self._inbox = Inbox()

    def receive_data(self, data: bytes) -> None:
        """*data* arrived; ask :meth:`next_event` what it means."""
        self._inbox.put(data)

    def end(self) -> None:
        """Nothing more arrives: what did, and was not asked for, is dropped."""
        self._inbox.clear()

    @property
    def held(self) -> int:
        """Bytes that are kept of what arrived."""
        return len(self._inbox)

    @property
    def due(self) -> bool:
        """Whether :meth:`next_event` has something to say."""
        return self._inbox.due

    @property
    def ready(self) -> int:
        """Bytes of the token that :meth:`next_event` will open, 0 while none is whole."""
        return self._inbox.ready

    def next_event(self, now: float) -> Event | None:
        """The next message, or None until more data has arrived.

        Raises:
            PeerBroke: the peer broke the protocol; nothing more should be read from it.
            CannotOpen: a token does not open with our key.
        """
        token = self._inbox.take()
        if token is None:
            return None
        text, made_at = tokens.open_token(self._opener, token)
        if texts.is_answer(text) and not self._client:
            raise broke("text", "An answer of this service came back as a request.")
        content = texts.read(text)
        reason = self._why_not(made_at, now)
        if not reason and not texts.is_unicode(text, content):
            reason = "This message holds halves of characters, which cannot be written as text."
        if reason:
            return Declined(content, made_at, reason)
        if made_at < self._started and changes(content.operation):
            return Declined(content, made_at, _MISSED, missed=True)
        return Received(content, tokens.digest(token), made_at)

    def _why_not(self, made_at: int, now: float) -> str:
        if made_at + MAX_AGE < now:
            return f"This message was made over {MAX_AGE} s ago. Are the clocks of both machines right?"
        if made_at > now + MAX_AHEAD:
            return f"This message was made over {MAX_AHEAD} s in the future. Are the clocks of both machines right?"
        return ""

    def send(self, content: Content, now: float) -> bytes:
        """*content* as bytes for the socket.

        Raises:
            OurBug: it holds what JSON cannot.
        """
        return tokens.seal(self._sealer, texts.write(content, answer=not self._client), now) + END
