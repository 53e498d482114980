"""The command ``memory``: what it prints of a listing, and what it says where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from discomputify_core.cli import memory as module
from discomputify_core.model.memory import Listing, Row, Value

Cli = Callable[..., Any]

LISTING = Listing(
    rows=(
        Row("value", "best", "json", 12, 7),
        Row("value", "here", "bytes", 1500, 8, ephemeral=True),
        Row("list", "log", "3", 30, 9, waiting=(3, 4)),
        Row("lock", "file", "held by part 2", waiting=(5,), missing=(2,)),
        Row("barrier", "epoch", "round 2", waiting=(1, 2, 3, 4), missing=(5, 6, 7, 8)),
        Row("gather", "all", "round 1", 40, missing=(1, 2, 3, 4, 5, 6, 7)),
        Row("broadcast", "w", "round 1", waiting=(2,), missing=(1,)),
    ),
    size=3400,
    count=12,
    most_bytes=268_435_456,
    more=2,
)


@pytest.fixture
def showing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs ``discomputify memory job …`` where the master answers with *listing*, of a job of 8 parts."""

    def run(listing: Listing, *args: str) -> Any:
        monkeypatch.setattr(module, "with_client", lambda work: (listing, 8))
        return cli("memory", "job", *args)

    return run


def test_a_row_per_thing_and_who_waits(showing: Callable[..., Any]) -> None:
    lines = [line.split("  ") for line in showing(LISTING).out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells == [
        ["NAME", "KIND", "HOLDS", "SIZE", "VERSION", "WAITS"],
        ["best", "value", "json", "12 B", "7"],
        ["here", "value", "bytes, ephemeral", "1.5 kB", "8"],
        ["log", "list", "3", "30 B", "9", "part 3, part 4 wait"],
        ["file", "lock", "held by part 2", "part 5 waits"],
        ["epoch", "barrier", "round 2", "4 of 8 parts; waiting for part 5, part 6, part 7, part 8"],
        [
            "all",
            "gather",
            "round 1",
            "40 B",
            "1 of 8 parts; waiting for part 1, part 2, part 3, part 4, part 5 and 2 more",
        ],
        ["w", "broadcast", "round 1", "waiting for part 1"],
        ["… and 2 more"],
        ["12 entries, 3.4 kB of 268.4 MB"],
    ]


def test_json_is_the_listing(showing: Callable[..., Any]) -> None:
    values = (Value("json", b'{"a":1}'), Value("array", b"\0\1", {"dtype": "|u1", "shape": [2], "order": "C"}))
    data = json.loads(showing(Listing(rows=LISTING.rows[:1], values=values), "best", "--json").out)
    assert data["rows"][0] == {
        "kind": "value",
        "name": "best",
        "holds": "json",
        "size": 12,
        "version": 7,
        "waiting": [],
        "missing": [],
        "ephemeral": False,
    }
    assert data["values"] == [
        {"kind": "json", "data": '{"a":1}', "meta": {}},
        {"kind": "array", "data": "AAE=", "meta": {"dtype": "|u1", "shape": [2], "order": "C"}},
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Value("json", '{"name":"ü"}'.encode()), '{"name":"ü"}'),
        (Value("bytes", b"\x00\xff"), "00 ff"),
        (Value("bytes", bytes(100)), "00 " * 64 + "…"),
        (Value("array", b"", {"dtype": "<f8", "shape": [3, 4], "order": "C"}), "array of <f8, 3 x 4"),
        (Value("array", b"", {"dtype": "<f8", "shape": []}), "array of <f8, a single one"),
        (
            Value("ref", b"", {"of": "array", "node": "n1", "size": 8_000_000, "dtype": "<f8", "shape": [1_000_000]}),
            "array of <f8, 1000000, 8.0 MB kept by n1",
        ),
        (Value("ref", b"", {"of": "bytes", "node": "n1", "size": 2_000_000}), "bytes, 2.0 MB kept by n1"),
    ],
)
def test_a_value_is_shown(showing: Callable[..., Any], value: Value, said: str) -> None:
    answer = showing(Listing(rows=LISTING.rows[:1], values=(value,)), "best")
    assert answer.out.splitlines()[-1] == f"  {said}"


def test_a_long_list_is_cut(showing: Callable[..., Any]) -> None:
    values = tuple(Value("json", str(number).encode()) for number in range(22))
    out = showing(Listing(rows=LISTING.rows[2:3], values=values), "log").out
    assert out.splitlines()[-1] == "  … and 2 more values"


def test_nothing_is_said_in_a_sentence(showing: Callable[..., Any]) -> None:
    answer = showing(Listing())
    assert (answer.code, answer.out) == (0, "The parts of 'job' share nothing at the moment.\n")
    answer = showing(Listing(), "best")
    assert (answer.code, answer.err) == (1, "error: Nothing is shared under the name 'best' in 'job'.\n")


def test_a_running_cluster_is_asked(cli: Cli, running_cluster: Any) -> None:
    answer = cli("--conf", str(running_cluster.conf), "memory", "no-such-job")
    assert answer.code == 2
    assert "knows no job 'no-such-job'" in answer.err
