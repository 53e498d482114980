"""Confs for tests: made directly, without a file, with a fresh key each."""

from __future__ import annotations

import secrets
from typing import Any

from discomputify_core.model.conf import Conf, Key


def fresh_key() -> Key:
    """32 random ASCII characters."""
    return Key(secrets.token_hex(16))


def make_conf(**changes: Any) -> Conf:
    """A conf of defaults with one fresh key for both directions and the attributes in *changes*.

    Two calls give two keys; use one conf, or pass the same keys, for ends that shall understand each other.
    """
    key = fresh_key()
    return Conf(**{"encryption_key": key, "decryption_key": key, **changes})
