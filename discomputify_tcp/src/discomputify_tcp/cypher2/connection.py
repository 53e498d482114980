"""One end of a CYPHER/2 connection as a value, with three verbs: ``receive_data``, ``next_event``, ``send``.

Here: the order of handshake and messages. Not here: sockets, deadlines, which hello is welcome (the transport).

Client: ``start()``, then ``Greeted``, then ``confirm()``, then messages both ways.
Server: ``Greeted``, then ``answer()``, then ``Confirmed``, then messages both ways.
"""

from __future__ import annotations

import enum

from discomputify_core.errors import OurBug, PeerBroke
from discomputify_core.model.message import Hello, Message
from discomputify_tcp.cypher2.assembler import Assembler
from discomputify_tcp.cypher2.cipher import Buffer, Cipher
from discomputify_tcp.cypher2.errors import broke
from discomputify_tcp.cypher2.events import Confirmed, Event, Greeted, Ping, Pong, Received
from discomputify_tcp.cypher2.frames import Opener, Sealer
from discomputify_tcp.cypher2.heads import HELLO, OWN, PING, PONG, pack_head, pack_own
from discomputify_tcp.cypher2.hello import pack_hello, unpack_hello
from discomputify_tcp.cypher2.inbox import Inbox
from discomputify_tcp.cypher2.limits import LENGTH, MAX_CONFIRM, MAX_HANDSHAKE, PREAMBLE
from discomputify_tcp.cypher2.noise import Handshake
from discomputify_tcp.cypher2.outbox import Outbox

_U16 = 2


class _State(enum.Enum):
    START = "the client has to send its first message"
    PREAMBLE = "the server waits for the preamble"
    FIRST = "the server waits for the client's handshake message"
    ANSWER = "the server has to send its handshake message"
    SECOND = "the client waits for the server's handshake message"
    CONFIRM = "the client has to confirm"
    UNCONFIRMED = "the server waits for the client's confirmation"
    OPEN = "messages travel"
    BROKEN = "the peer broke the protocol"


class Connection:
    """One end of a connection.

    Args:
        client: whether this end dialled.
        psk: see :func:`derive_psk`.
        ephemeral: 32 fresh random bytes.
        hello: what this end says of itself.

    Raises:
        OurBug: *hello* cannot be sent.
    """

    def __init__(self, *, client: bool, psk: bytes, ephemeral: bytes, hello: Hello) -> None:
        self._hello = pack_hello(hello)
        self._handshake = Handshake(psk, ephemeral, PREAMBLE)
        self._inbox = Inbox()
        self._assembler = Assembler()
        self._state = _State.START if client else _State.PREAMBLE
        self._opener: Opener | None = None
        self._outbox: Outbox | None = None
        self._reading = {
            _State.PREAMBLE: self._read_preamble,
            _State.FIRST: self._read_first,
            _State.SECOND: self._read_second,
            _State.UNCONFIRMED: self._read_confirmation,
        }

    # --- bytes in --------------------------------------------------------------------------------

    def receive_data(self, data: Buffer) -> None:
        """*data* arrived; ask :meth:`next_event` what it means."""
        self._inbox.put(data)

    def get_buffer(self) -> memoryview:
        """Where to read the next bytes into, instead of :meth:`receive_data`; then say :meth:`buffer_updated`."""
        return self._inbox.space()

    def buffer_updated(self, size: int) -> None:
        """*size* bytes were read into the latest :meth:`get_buffer`."""
        self._inbox.wrote(size)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is held of a frame or message that is still arriving."""
        return not len(self._inbox) and self._assembler.at_rest

    # --- events out ------------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        """What happened next, or None until more data has arrived (or this end has to speak).

        Raises:
            PeerBroke: the peer broke the protocol; nothing more can be read.
            CannotOpen: its handshake message does not open with our key.
        """
        if self._state is _State.BROKEN:
            raise broke("connection", "The peer broke the protocol before.")
        try:
            if self._state is _State.OPEN:
                return self._read_message()
            # PREAMBLE alone gives no event of its own: the next state may have one.
            while (read := self._reading.get(self._state)) is not None:
                state, event = self._state, read()
                if event is not None or self._state is state:
                    return event
        except PeerBroke:
            self._state = _State.BROKEN
            raise
        return None

    def _read_preamble(self) -> None:
        # Compared as far as it has arrived, so that a stranger is not waited for.
        begin = self._inbox.peek(min(len(self._inbox), len(PREAMBLE)))
        if begin is None or not PREAMBLE.startswith(bytes(begin)):
            got = bytes(begin or b"")
            other = f"version {got[3]} of the protocol" if got[:3] == PREAMBLE[:3] else "something else"
            raise broke("handshake.1", f"The peer speaks {other}.")
        if len(begin) == len(PREAMBLE):
            self._inbox.skip(len(PREAMBLE))
            self._state = _State.FIRST

    def _read_first(self) -> Greeted | None:
        message = self._handshake_message()
        if message is None:
            return None
        hello = unpack_hello(self._handshake.read_first(message))
        self._state = _State.ANSWER
        return Greeted(hello)

    def _read_second(self) -> Greeted | None:
        message = self._handshake_message()
        if message is None:
            return None
        hello = unpack_hello(self._handshake.read_second(message))
        to_server, to_client = self._handshake.split()
        self._set_ciphers(to_client, to_server)
        self._state = _State.CONFIRM
        return Greeted(hello)

    def _handshake_message(self) -> bytes | None:
        prefix = self._inbox.peek(_U16)
        if prefix is None:
            return None
        size = int.from_bytes(prefix, "big")
        if size > MAX_HANDSHAKE:
            raise broke("handshake.2", f"The peer announced {size} bytes of handshake; at most {MAX_HANDSHAKE} fit.")
        message = self._inbox.peek(_U16 + size)
        if message is None:
            return None
        found = bytes(message[_U16:])
        self._inbox.skip(_U16 + size)
        return found

    def _read_confirmation(self) -> Confirmed | None:
        plain = self._opened().next(most=MAX_CONFIRM - LENGTH)
        if plain is None:
            return None
        self._assembler.feed(plain)
        found = self._assembler.next()
        if found is None or found[0].operation != HELLO or not self._assembler.at_rest:
            raise broke("handshake.4", "The client's first frame is not an empty hello.")
        self._state = _State.OPEN
        self._inbox.widen()
        return Confirmed()

    def _read_message(self) -> Event | None:
        assembler, opener = self._assembler, self._opened()
        while True:
            found = None if assembler.at_rest else assembler.next()
            if found is None:
                plain = opener.next()
                if plain is None:
                    return None
                assembler.feed(plain)
                continue
            head, body, size = found
            if not head.operation.startswith(OWN):
                return Received(Message(head.operation, head.data, body, head.request, head.settled), size)
            if head.operation == PING:
                return Ping()
            if head.operation == PONG:
                return Pong()
            # Another message of the protocol itself, from a later minor release: ignored.

    # --- this end speaks -------------------------------------------------------------------------

    def start(self) -> bytes:
        """Client: preamble and first handshake message."""
        self._expect(_State.START)
        self._state = _State.SECOND
        return PREAMBLE + _prefixed(self._handshake.write_first(self._hello))

    def answer(self) -> bytes:
        """Server, after ``Greeted``: the second handshake message.

        Raises:
            PeerBroke: the client's ephemeral key cannot be used.
        """
        self._expect(_State.ANSWER)
        try:
            message = self._handshake.write_second(self._hello)
        except PeerBroke:
            self._state = _State.BROKEN
            raise
        to_server, to_client = self._handshake.split()
        self._set_ciphers(to_server, to_client)
        self._state = _State.UNCONFIRMED
        return _prefixed(message)

    def confirm(self) -> bytes:
        """Client, after ``Greeted``: the frame that authenticates it. Messages may follow at once."""
        self._expect(_State.CONFIRM)
        self._state = _State.OPEN
        self._inbox.widen()
        outbox = self._outgoing()
        outbox.put(pack_own(HELLO))
        return b"".join(outbox.frames())

    def send(self, message: Message) -> None:
        """Put *message* into the outbox. A body over 64 KiB must not change until :attr:`borrowed` is 0 again.

        Raises:
            OurBug: the body is over 16 MiB, or the data cannot be encoded.
        """
        body = message.body
        if isinstance(body, memoryview):
            if not body.c_contiguous:
                raise OurBug(f"The body of {message.operation!r} is a view with gaps, which cannot be sent.")
            body = body.cast("B")
        self._outgoing().put(pack_head(message, len(body)), body)

    def ping(self) -> None:
        """Put a ping into the outbox."""
        self._outgoing().put(pack_own(PING))

    def pong(self) -> None:
        """Put the answer to a ping into the outbox."""
        self._outgoing().put(pack_own(PONG))

    def data_to_send(self) -> list[bytes]:
        """The next bytes of the outbox for the socket, about 1 MiB at most; empty if there are none."""
        return self._outgoing().frames()

    def own(self) -> None:
        """Copy what is in the outbox: its sender may change it from now on."""
        self._outgoing().own()

    @property
    def pending(self) -> int:
        """Plaintext bytes in the outbox."""
        return self._outgoing().pending

    @property
    def borrowed(self) -> int:
        """How many big bodies in the outbox still lie with their senders."""
        return self._outgoing().borrowed

    # --- inside ----------------------------------------------------------------------------------

    def _expect(self, state: _State) -> None:
        if self._state is not state:
            raise OurBug(f"This end of a connection was used out of turn: {self._state.value}, not {state.value}.")

    def _set_ciphers(self, reading: Cipher, writing: Cipher) -> None:
        self._opener = Opener(reading, self._inbox)
        self._outbox = Outbox(Sealer(writing))

    def _opened(self) -> Opener:
        if self._opener is None:
            raise OurBug("Frames were read before the handshake was complete.")
        return self._opener

    def _outgoing(self) -> Outbox:
        if self._outbox is None or self._state not in (_State.OPEN, _State.BROKEN):
            raise OurBug("A message was sent before the handshake was complete.")
        return self._outbox


def _prefixed(message: bytes) -> bytes:
    return len(message).to_bytes(_U16, "big") + message
