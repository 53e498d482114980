"""A Redis server of the tests' own, and names that no two tests share."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from discomputify_redis.options import RedisOptions

from .redis_kit import RedisServer, find_program


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that runs for the whole session."""
    find_program()
    running = RedisServer(tmp_path_factory.mktemp("redis"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def options(server: RedisServer) -> RedisOptions:
    """Options for that server, with a prefix of this test's own."""
    return RedisOptions(url=server.url, prefix=f"test-{secrets.token_hex(6)}")
