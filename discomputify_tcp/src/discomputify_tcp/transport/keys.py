"""Which keys are good enough. Not here: how they are used (cypher2/psk.py). A key never gets into a message."""

from __future__ import annotations

import hashlib

from discomputify_core.model.conf import Conf
from discomputify_tcp.transport.options import TcpOptions

KEY_LENGTH = 32

#: SHA-256 of keys that were published: the example key in the README of cypher-protocol and in old example confs.
PUBLISHED = frozenset({"f620f19992d0d9725c78f814423b7a2d0db31cbb2e34dcfcd1e9dc861614e006"})

#: A key with fewer different characters than this can be guessed from one recorded connection.
FEW_CHARACTERS = 10


def _keys(conf: Conf) -> tuple[tuple[str, str | None], ...]:
    return ("ENCRYPTION_KEY", conf.encryption_key), ("DECRYPTION_KEY", conf.decryption_key)


def problems(conf: Conf, options: TcpOptions) -> list[str]:
    """Every reason why the keys of *conf* cannot be used, one sentence each, with the key's name."""
    found = []
    for name, value in _keys(conf):
        problem = _problem(value, options.allow_published_key)
        if problem:
            found.append(f"{problem} @ {name}")
    return found


def _problem(value: str | None, allow_published: bool) -> str:
    expected = f"expected {KEY_LENGTH} ASCII characters"
    if value is None:
        return f"{expected}, found nothing ('discomputify init' writes a conf with a fresh key)"
    if not value.isascii():
        return f"{expected}, found others among the {len(value)}"
    if len(value) != KEY_LENGTH:
        return f"{expected}, found {len(value)}"
    if hashlib.sha256(value.encode("ascii")).hexdigest() in PUBLISHED and not allow_published:
        return (
            "this is the example key printed in the old package's README, which everybody knows: put a fresh one on "
            "every machine ('discomputify init --conf fresh.json' makes one to copy from), or allow it with "
            '"tcp": {"allow_published_key": true}'
        )
    return ""


def warnings(conf: Conf) -> list[str]:
    """What is unwise about the keys of *conf*, one sentence each, with the key's name."""
    return [
        f"{name} has only {len(set(value))} different characters: whoever records one connection may guess it. "
        "'discomputify init' makes a better one."
        for name, value in _keys(conf)
        if value is not None and len(set(value)) < FEW_CHARACTERS
    ]
