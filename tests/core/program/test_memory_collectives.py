"""What parts do together, each in a process of its own; also when one of them runs again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from .memory_node import MemoryNode, finished


@pytest.fixture
def node(tmp_path: Path) -> Iterator[MemoryNode]:
    with MemoryNode(tmp_path, 3) as made:
        yield made


def test_small_values_are_gathered_and_reduced_alike_everywhere(node: MemoryNode) -> None:
    code = """
print(memory.gather("g", {"part": part}), memory.gather("g", (part, "again")))
print(memory.broadcast("b", (1, 2) if part == 2 else None, root=2), memory.broadcast("b", part))
print(memory.reduce("n", part), memory.reduce("n", part / 10), memory.reduce("n", -part, op="min"),
      memory.reduce("n", part, op="max"), memory.reduce("n", part, op="prod"))
print(memory.reduce("f", [part], op=lambda a, b: a + b), memory.reduce("f", (part,), op=max))
memory.barrier("end")
"""
    (same,) = set(node.run(code))
    assert same.splitlines() == [
        "[{'part': 1}, {'part': 2}, {'part': 3}] [[1, 'again'], [2, 'again'], [3, 'again']]",
        "[1, 2] 1",
        f"6 {0.1 + 0.2 + 0.3} -3 3 6",
        "[1, 2, 3] [3]",
    ]


@pytest.mark.parametrize("length", [5, 40_000, 200_000], ids=["everywhere", "by part 1", "large"])
def test_arrays_are_reduced_element_by_element(node: MemoryNode, length: int) -> None:
    code = f"""
import hashlib
import numpy as np
array = np.random.default_rng(part).random(({length}, 2)).T
for op in ("sum", "min", "max", "prod", np.hypot):
    found = memory.reduce("r", array, op=op)
    print(found.dtype, found.shape, found.flags.writeable, found.flags.f_contiguous,
          hashlib.md5(np.ascontiguousarray(found)).hexdigest(), found[0, 0])
memory.barrier("over")
"""
    (same,) = set(node.run(code))
    arrays = [np.random.default_rng(part).random((length, 2)).T for part in (1, 2, 3)]
    expected = [
        arrays[0] + arrays[1] + arrays[2],
        np.minimum(np.minimum(*arrays[:2]), arrays[2]),
        np.maximum(np.maximum(*arrays[:2]), arrays[2]),
        arrays[0] * arrays[1] * arrays[2],
        np.hypot(np.hypot(*arrays[:2]), arrays[2]),
    ]
    for line, array in zip(same.splitlines(), expected, strict=True):
        dtype, *shape, writeable, in_columns, _, first = line.split()
        assert (dtype, " ".join(shape), writeable, in_columns) == ("float64", str(array.shape), "False", "True")
        assert float(first) == array[0, 0]


def test_large_arrays_are_mapped_by_the_others_and_only_read_where_needed(node: MemoryNode) -> None:
    code = """
import numpy as np
array = memory.broadcast("b", np.arange(300_000.0) if part == 1 else None)
print(array.sum(), array.flags.writeable, type(array.base).__name__)
print([len(each) for each in memory.gather("g", np.zeros(200_000 + part))])
memory.barrier("over")
"""
    (same,) = set(node.run(code))
    assert same.splitlines() == [f"{np.arange(300_000.0).sum()} False mmap", "[200001, 200002, 200003]"]


def test_those_who_do_not_add_up_are_not_sent_what_the_others_brought(node: MemoryNode) -> None:
    node.run("import numpy as np\nmemory.reduce('r', np.zeros(40_000))\nmemory.reduce('r', 1)")
    gathers = [each for each in node.asked if each.get("kind") == "gather"]
    assert sorted(each.get("quiet", False) for each in gathers) == [False] * 4 + [True] * 2
    assert {each["sign"] for each in gathers} == {"reduce sum <f8 (40000,)", "reduce sum number"}


DIFFERENT = """
import numpy as np
try:
    print({call})
except program.SharedMemoryError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(
    "call",
    [
        "memory.reduce('r', np.zeros(part // 3 + 3), timeout=1)",
        "memory.reduce('r', np.zeros(3, dtype=['f8', 'f4'][part // 3]), timeout=1)",
        "memory.reduce('r', 1, op=['sum', 'prod'][part // 3], timeout=1)",
        "memory.reduce('r', 1, op=['sum', min][part // 3], timeout=1)",
        "memory.gather('r', 1, timeout=1) if part < 3 else memory.reduce('r', 1, timeout=1)",
        "memory.broadcast('r', part, root=part // 3 + 1, timeout=1)",
    ],
)
def test_parts_that_do_different_things_are_told(node: MemoryNode, call: str) -> None:
    assert "RoundsDiffer" in node.run(DIFFERENT.format(call=call), 1, 3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("memory.reduce('r', 2**63)", "a whole number of more than 64 bits"),
        ("memory.reduce('r', 1.7e308)", "the number inf"),
        ("memory.reduce('r', 1, op=lambda one, other: object())", "of type object"),
    ],
)
def test_a_result_that_cannot_be_shared_is_said_to_be_one(node: MemoryNode, call: str, words: str) -> None:
    code = f"""
try:
    {call}
except program.BadValue as error:
    print(error)
"""
    for said in node.run(code):
        assert "What 'r' comes to cannot be shared." in said
        assert words in said


def test_a_part_that_runs_again_passes_through_complete_rounds_and_meets_the_others(node: MemoryNode) -> None:
    code = """
import numpy as np
print(memory.reduce("sum", part * 10 ** number))
memory.barrier("done")
print(memory.reduce("array", np.full(40_000, float(part)))[0], memory.broadcast("b", number))
if (part, number) != (1, 1):
    print(memory.gather("last", number))
"""
    others = [node.program(code, part) for part in (2, 3)]
    assert finished(node.program(code, 1)).splitlines() == ["60", "6.0 1"]
    assert finished(node.program(code, 1, 2)).splitlines() == ["60", "6.0 1", "[2, 1, 1]"]
    for other in others:
        assert finished(other).splitlines() == ["60", "6.0 1", "[2, 1, 1]"]


def test_who_does_not_come_is_named(node: MemoryNode) -> None:
    code = """
try:
    memory.barrier("b", timeout=0.5)
except TimeoutError as error:
    print(type(error).__name__, error.fields["parts"])
"""
    assert node.run(code, 1) == ["TooLate [2, 3]"]
