"""Bad input to shared memory on a real cluster: each misuse has its own exception, with a sentence that helps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .cluster_kit import NODES, Cluster, program

#: Each case in a part that goes on afterwards; writes down by case what was raised. ``until_lost`` renews a lock until
#: its lease is over, so that nothing here waits longer than it has to.
MAIN = """
import json
import numpy as np
from discomputify_core import program

memory = program.memory()
part, raised = program.part(), {}


def case(name, action, *arguments, **named):
    try:
        result = action(*arguments, **named)
    except Exception as error:
        bases = [base.__name__ for base in type(error).__mro__]
        cause = None if error.__cause__ is None else type(error.__cause__).__name__
        raised[name] = {
            "kind": type(error).__name__, "bases": bases, "message": str(error), "cause": cause,
            "fields": getattr(error, "fields", {}),
        }
    else:
        raised[name] = {"kind": "", "message": repr(result)}


def lease_that_ends():
    with memory.lock("short", lease=0.05):
        memory.get("nothing", wait=0.3)


def lock_that_is_held():
    with memory.lock("held", lease=30), memory.lock("held", wait=0.1):
        pass


if part == 1:
    memory["text"], memory["value"] = "abc", 1
    memory.append("list", 1)
    case("wrong type: adding to a text", memory.increment, "text")
    case("wrong type: a list of a value", memory.append, "value", 2)
    case("wrong type: popping from a value", memory.pop, "value")
    case("wrong type: setting a list as a whole", memory.update, "list", min, 1)
    case("wrong type: time", memory.get, "value", wait="long")
    case("wrong type: step", memory.increment, "number", "one")
    case("wrong type: operation", memory.reduce, "r", 1, op="mean")
    case("wrong type: root", memory.broadcast, "b", 1, root=9)
    case("unfit: an object", memory.set, "x", object())
    case("unfit: a set", memory.set, "x", {1})
    case("unfit: not a number", memory.set, "x", float("nan"))
    case("unfit: an array of objects", memory.set, "x", np.array([None, {}]))
    case("unfit: a masked array", memory.set, "x", np.ma.array([1, 2], mask=[True, False]))
    case("limit: JSON", memory.set, "x", "a" * 9_000_000)
    case("limit: JSON that cannot even travel", memory.set, "x", "a" * 20_000_000)
    case("limit: an array", memory.set, "x", np.broadcast_to(np.zeros(1), (10**12,)))
    case("name: too long", memory.set, "n" * 257, 1)
    case("name: none", memory.get, "")
    case("name: no text", memory.get, 3)
    case("nothing there", memory.__getitem__, "x")
    case("lock: lease ends", lease_that_ends)
    case("lock: held", lock_that_is_held)
    case("changed: the value", memory.__getitem__, "value")
    case("changed: nothing was set", memory.keys)
    case("barrier: a part is missing", memory.barrier, "all", timeout=0.2)
memory.barrier("start", timeout=30)
if part == 1:
    case("round: other shapes", memory.reduce, "r", np.zeros(3), timeout=1)
elif part == 2:
    case("round: other shapes", memory.reduce, "r", np.zeros(4), timeout=1)
if part != 3:
    case("barrier: a part is gone", memory.barrier, "gone", timeout=30)
with program.open(f"raised-{part}.json", "w") as out:
    json.dump(raised, out)
"""

Raised = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def raised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Raised]]:
    """What was raised in parts 1, 2 and 3, by case."""
    folder = tmp_path_factory.mktemp("bad")
    cluster = Cluster(folder, (NODES[0],), SHARED_MEM="sharedmem", SLOTS=4)
    try:
        cluster.start()
        ran = cluster.submit(program(folder / "bad", MAIN), "-n", 3, "--together", "--process-id", "bad")
        assert ran.code == 0, ran.err + ran.out
        assert ran.json["failures"] == []
        yield [json.loads(path.read_text(encoding="utf-8")) for path in outputs(cluster.here / "bad")]
    finally:
        cluster.close()


def outputs(folder: Path) -> list[Path]:
    return [folder / f"bad_{part}_3" / f"raised-{part}.json" for part in (1, 2, 3)]


@pytest.mark.parametrize(
    ("case", "kind", "also", "words"),
    [
        ("wrong type: adding to a text", "WrongKind", "TypeError", "'text' is of kind 'json' and no number"),
        ("wrong type: a list of a value", "WrongKind", "TypeError", "'value' is a value and no list"),
        ("wrong type: popping from a value", "WrongKind", "TypeError", "'value' is a value and no list"),
        ("wrong type: setting a list as a whole", "WrongKind", "TypeError", "'list' is a list"),
        ("wrong type: time", "BadValue", "TypeError", "wait is a number of seconds, 0 or more, not 'long'"),
        ("wrong type: step", "BadValue", "TypeError", "by a number, not by 'one'"),
        ("wrong type: operation", "BadValue", "TypeError", "op is one of sum, min, max, prod"),
        ("wrong type: root", "BadValue", "TypeError", "1 to 3, not 9"),
        ("unfit: an object", "BadValue", "TypeError", "of type object"),
        ("unfit: a set", "BadValue", "TypeError", "make it a list: sorted(values)"),
        ("unfit: not a number", "BadValue", "TypeError", "only finite ones"),
        ("unfit: an array of objects", "BadValue", "TypeError", "its elements are Python objects. Give it another"),
        ("unfit: a masked array", "BadValue", "TypeError", "share its data and its mask"),
        ("limit: JSON", "MemoryFull", "SharedMemoryError", "limit of 8,388,608 bytes"),
        ("limit: JSON that cannot even travel", "MemoryFull", "SharedMemoryError", "Share it as bytes or an array"),
        ("limit: an array", "MemoryFull", "SharedMemoryError", "raise SHARED_ARRAYS_LIMIT"),
        ("name: too long", "BadName", "ValueError", "has 257 bytes; 1 to 256 are allowed"),
        ("name: none", "BadName", "ValueError", "has 0 bytes; 1 to 256 are allowed"),
        ("name: no text", "BadName", "ValueError", "is text, not int: 3"),
        ("nothing there", "NoSuchName", "KeyError", "nothing under the name 'x'"),
        ("lock: lease ends", "LockLost", "SharedMemoryError", "does not hold the lock 'short' any more"),
        ("lock: held", "TooLate", "TimeoutError", "The lock 'held' was not free within 0.1 s"),
        ("barrier: a part is missing", "TooLate", "TimeoutError", "did not come"),
        ("barrier: a part is gone", "PartGone", "SharedMemoryError", "art 3"),
    ],
)
def test_each_misuse_has_its_own_exception(raised: list[Raised], case: str, kind: str, also: str, words: str) -> None:
    found = raised[0][case]
    assert found["kind"] == kind, found
    assert {"SharedMemoryError", also} <= set(found["bases"])
    assert words in found["message"]
    assert len(found["message"]) < 500
    assert found["message"].endswith(".")


def test_limits_and_parts_are_in_fields(raised: list[Raised]) -> None:
    limits = {case: found["fields"]["limit"] for case, found in raised[0].items() if case.startswith("limit")}
    assert list(limits.values()) == ["value_bytes", "value_bytes", "SHARED_ARRAYS_LIMIT"]
    assert raised[0]["barrier: a part is missing"]["fields"]["parts"] == [2, 3]
    assert raised[0]["barrier: a part is gone"]["fields"]["part"] == 3


def test_what_is_refused_changes_nothing(raised: list[Raised]) -> None:
    assert raised[0]["changed: the value"]["message"] == "1"
    assert raised[0]["changed: nothing was set"]["message"] == "['list', 'text', 'value']"


def test_who_comes_with_another_shape_is_told_and_all_that_wait_for_who_is_gone(raised: list[Raised]) -> None:
    kinds = [found["round: other shapes"]["kind"] for found in raised[:2]]
    kinds.remove("RoundsDiffer")
    assert kinds[0] in ("TooLate", "PartGone")  # who came first waits in vain: part 3 may be done by then
    assert [found["barrier: a part is gone"]["kind"] for found in raised[:2]] == ["PartGone", "PartGone"]
    assert raised[2] == {}
