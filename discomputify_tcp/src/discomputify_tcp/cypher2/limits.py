"""The numbers of CYPHER/2. Nothing else."""

from __future__ import annotations

#: What a client sends first, and the prologue of the handshake: "CYP", version 2.
PREAMBLE = b"CYP\x02"

#: Bytes of a private ephemeral key, and of the pre-shared key.
EPHEMERAL_KEY = 32
PSK = 32

#: Bytes that AES-GCM adds.
TAG = 16

#: Most bytes of a handshake payload (what a peer says of itself), and of the message that carries it.
MAX_HELLO = 2048
MAX_HANDSHAKE = EPHEMERAL_KEY + MAX_HELLO + TAG

#: Most bytes of the frame that authenticates a client, its length prefix included.
MAX_CONFIRM = 1024

#: Most bytes held of a peer that is not authenticated.
MAX_UNCONFIRMED = 4096

#: Most plaintext bytes in one frame, and the ciphertext lengths that are allowed.
MAX_PLAIN = 1024 * 1024
MAX_FRAME = MAX_PLAIN + TAG

#: Bytes of every length prefix of frames and heads.
LENGTH = 4

#: Frames of one direction after which its key changes.
REKEY_EVERY = 65_536

#: Most bytes of a message's head.
MAX_HEAD = 1024 * 1024

#: Bodies up to this size are copied and share frames; bigger ones are encrypted where they lie, in frames of their own.
SMALL = 64 * 1024
