"""``program.memory()`` as one part sees it: entries, lists, locks; their errors."""

from __future__ import annotations

import math
import operator
import os
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from discomputify_core import program
from discomputify_core.model.memory import Limits
from discomputify_core.program import agent_line, shared_memory, sharing
from discomputify_core.program.asking import Reply, ask
from discomputify_core.program.locks import Lock
from discomputify_core.program.shared_memory import Memory
from discomputify_core.program.values import LARGE
from discomputify_core.roles.node.agent_server import MAX_PER_PART

from .memory_node import MemoryNode


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryNode]:
    """A node, and this process is part 1 of a job of two."""
    with MemoryNode(tmp_path, 2, Limits(value_bytes=2_000_000, job_entries=500)) as made:
        yield become(made, monkeypatch)
        forget()


def become(node: MemoryNode, monkeypatch: pytest.MonkeyPatch) -> MemoryNode:
    for name, value in node.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sharing, "_memory", None)
    return node


def forget() -> None:
    while agent_line._idle:
        agent_line._idle.pop().close()


@pytest.fixture
def memory(node: MemoryNode) -> Memory:
    return program.memory()


def test_there_is_one_memory_per_process(memory: Memory) -> None:
    assert program.memory() is memory
    assert repr(memory) == "<shared memory, part 1 of 2>"


def test_outside_a_part_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_memory", None)
    monkeypatch.delenv("DISCOMPUTIFY_PART", raising=False)
    with pytest.raises(program.NotInAPart):
        program.memory()


def test_a_cluster_without_shared_memory_says_so_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with MemoryNode(tmp_path, shared=False) as node:
        become(node, monkeypatch)
        with pytest.raises(program.NoSharedMemory, match="SHARED_MEM"):
            program.memory()


@pytest.mark.parametrize("value", [None, False, 3, 2.5, "é", [1, [2]], {"a": {"b": None}}, b"\0bytes", b""])
def test_a_value_can_be_set_read_and_removed(memory: Memory, value: Any) -> None:
    memory["a"] = value
    assert memory["a"] == value
    assert type(memory["a"]) is type(value)
    assert "a" in memory
    del memory["a"]
    assert "a" not in memory
    assert memory.get("a", "nothing") == "nothing"


def test_an_array_is_read_as_it_was(memory: Memory) -> None:
    array = np.arange(12, dtype=">i2").reshape(3, 4).T
    memory["a"] = array
    found = memory["a"]
    assert (found.dtype, found.flags.f_contiguous) == (array.dtype, True)
    assert np.array_equal(found, array)
    assert not found.flags.writeable
    memory["empty"], memory["single"] = np.zeros((0, 3)), np.array(5.0)
    assert memory["empty"].shape == (0, 3)
    assert memory["single"] == 5.0


def test_large_values_go_around_the_service(memory: Memory, node: MemoryNode) -> None:
    array = np.arange(LARGE // 8, dtype=float)
    memory["array"], memory["bytes"] = array, b"b" * LARGE
    memory["less"] = b"b" * (LARGE - 1)
    assert [each["value"]["kind"] for each in node.asked if each["do"] == "put"] == ["ref", "ref", "bytes"]
    assert np.array_equal(memory["array"], array)
    assert memory["bytes"] == b"b" * LARGE
    assert memory["less"] == b"b" * (LARGE - 1)
    assert memory.append("list", array) == 1
    memory.append("list", 3)
    first, second = memory["list"]
    assert np.array_equal(first, array)
    assert second == 3
    assert np.array_equal(memory.pop("list"), array)


def test_a_large_value_that_is_replaced_while_it_is_read_is_read_anew(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory["a"] = np.zeros(LARGE)
    answered: list[Path] = []

    def replaced(do: str, *more: Any, **fields: Any) -> Reply:
        reply = ask(do, *more, **fields)
        if do == "get":
            answered.append(Path(reply._data["value"]["path"]))
            if len(answered) == 1:
                memory["a"] = np.ones(LARGE)
                answered[0].unlink()
        return reply

    monkeypatch.setattr(shared_memory, "ask", replaced)
    assert memory["a"][0] == 1
    answered[-1].unlink()
    with pytest.raises(program.MemoryLost, match="'a' was removed"):
        memory["a"]


def test_names_are_listed_by_their_beginning(memory: Memory) -> None:
    for name in ("b/2", "a", "b/1"):
        memory[name] = 1
    assert memory.keys() == ["a", "b/1", "b/2"] == list(memory)
    assert memory.keys("b/") == ["b/1", "b/2"]


def test_what_is_not_there_is_a_key_error(memory: Memory) -> None:
    with pytest.raises(KeyError, match="nothing under the name 'none'") as caught:
        memory["none"]
    assert isinstance(caught.value, program.NoSuchName)
    with pytest.raises(program.NoSuchName, match="could be removed"):
        del memory["none"]


def test_get_waits_until_there_is_something(memory: Memory) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(memory.get, "later", None, 20)
        while "later" not in memory:
            memory["later"] = 7
        assert waiting.result(20) == 7
        waiting = pool.submit(memory.pop, "queue", None, 20)
        memory.append("queue", "item")
        assert waiting.result(20) == "item"
    assert memory.get("never", 1, wait=0.01) == 1


def test_an_ephemeral_entry_is_asked_for(memory: Memory, node: MemoryNode) -> None:
    memory.set("a", 1, ephemeral=True)
    memory.set("b", 1)
    assert [each.get("ephemeral") for each in node.asked if each["do"] == "put"] == [True, None]


def test_numbers_are_increased(memory: Memory) -> None:
    assert memory.increment("n") == 1
    assert memory.increment("n", 2**40) == 2**40 + 1
    assert memory.increment("n", np.int64(-1)) == 2**40
    assert memory.increment("x", np.float32(0.5)) == 0.5
    assert memory["n"] == 2**40
    assert type(memory["n"]) is int
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(lambda _: memory.increment("many"), range(200))) == list(range(1, 201))


def test_compare_and_set_sets_only_what_is_as_expected(memory: Memory) -> None:
    assert not memory.compare_and_set("a", None, 1)
    assert memory.compare_and_set("a", program.ABSENT, 1)
    assert not memory.compare_and_set("a", program.ABSENT, 2)
    assert not memory.compare_and_set("a", 2, 3)
    assert memory.compare_and_set("a", 1.0, {"x": (1, 2)})
    assert memory.compare_and_set("a", {"x": [1, 2]}, b"bytes")
    assert not memory.compare_and_set("a", "bytes", 1)
    assert not memory.compare_and_set("a", np.array([1.0]), 1)
    assert memory.compare_and_set("a", b"bytes", np.array([1.0, math.nan]))
    assert not memory.compare_and_set("a", np.array([1, 2]), 1)
    assert memory.compare_and_set("a", np.array([1.0, math.nan]), 5)
    assert memory["a"] == 5
    assert repr(program.ABSENT) == "ABSENT"


def test_update_loses_nothing_of_what_others_do(memory: Memory) -> None:
    assert memory.update("best", min, 5) == 5
    assert memory.update("best", min, 7) == 5
    assert memory.update("best", min, 3) == 3
    join = operator.add
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: memory.update("all", join, [at]), range(40)))
    assert sorted(memory["all"]) == list(range(40))


def test_what_always_changes_is_given_up(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "CONTENTION", 0.1)
    memory["a"] = 0
    number = iter(range(1, 100_000))

    def never(old: Any, value: Any) -> Any:
        memory["a"] = next(number)
        return value

    with pytest.raises(program.TooLate, match=r"all the time for 0\.1 s; use a lock"):
        memory.update("a", never, -1)


def test_lists_and_values_are_not_mixed(memory: Memory) -> None:
    assert [memory.append("list", item) for item in ("a", b"b")] == [1, 2]
    assert memory["list"] == ["a", b"b"]
    memory["value"] = "text"
    calls: list[Callable[[], object]] = [
        lambda: memory.append("value", 1),
        lambda: memory.pop("value"),
        lambda: memory.increment("value"),
        lambda: memory.increment("list"),
        lambda: memory.update("list", min, 1),
        lambda: memory.compare_and_set("list", 1, 2),
    ]
    for call in calls:
        with pytest.raises(program.WrongKind):
            call()
    assert [memory.pop("list"), memory.pop("list"), memory.pop("list", "none")] == ["a", b"b", "none"]


def test_what_is_over_a_limit_is_refused(memory: Memory) -> None:
    with pytest.raises(program.MemoryFull) as caught:
        memory["a"] = "x" * 2_000_001
    assert caught.value.fields["limit"] == "value_bytes"
    with pytest.raises(program.MemoryFull, match="Share it as bytes or an array"):
        memory["a"] = "x" * (agent_line.MAX_BODY + 1)
    assert "a" not in memory


def test_a_lock_is_held_by_one_at_a_time(memory: Memory) -> None:
    inside: list[int] = []

    def take(_: int) -> int:
        with memory.lock("l", lease=30) as lock:
            inside.append(1)
            assert len(inside) == 1
            lock.renew()
            lock.renew(60)
            inside.pop()
            return lock.token

    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(take, range(40)))
    assert len(set(tokens)) == 40
    with (
        memory.lock("l"),
        pytest.raises(program.TooLate, match=r"was not free within 0\.01 s"),
        memory.lock("l", wait=0.01),
    ):
        pass


def outlived(lock: Lock, other: Lock) -> None:
    with pytest.raises(program.LockLost):
        lock.renew()
    assert other.token > lock.token


def test_a_lease_that_ends_is_told(memory: Memory) -> None:
    lock = memory.lock("l", lease=0.01)
    with pytest.raises(program.LockLost), lock, memory.lock("l") as other:
        outlived(lock, other)
    with pytest.raises(ZeroDivisionError), memory.lock("l", lease=0.01), memory.lock("l"):
        raise ZeroDivisionError  # matters more than the lease
    with pytest.raises(program.LockLost, match="is not held"):
        lock.renew()
    with lock, pytest.raises(program.BadValue, match="is held already"), lock:
        pass


def test_a_lock_shows_whether_it_is_held(memory: Memory) -> None:
    lock = memory.lock("a")
    assert repr(lock) == "<lock 'a', not held>"
    with lock:
        assert repr(lock) == f"<lock 'a', held with token {lock.token}>"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        ("memory[3]", "BadName", "text, not int"),
        ("memory['']", "BadName", "1 to 256"),
        ("memory.get('a' * 257)", "BadName", "257 bytes"),
        ("memory.keys('a' * 257)", "BadName", "257 bytes"),
        ("memory.keys(None)", "BadName", "text, not NoneType"),
        ("None in memory", "BadName", "text, not NoneType"),
        ("memory.lock(b'a')", "BadName", "text, not bytes"),
        ("memory.barrier('')", "BadName", "1 to 256"),
        ("memory.set('a', {1})", "BadValue", "make it a list"),
        ("memory.append('a', object())", "BadValue", "of type object"),
        ("memory.update('a', min, object())", "BadValue", "of type object"),
        ("memory.compare_and_set('a', object(), 1)", "BadValue", "of type object"),
        ("memory.compare_and_set('a', 1, program.ABSENT)", "BadValue", "cannot remove"),
        ("memory.get('a', wait='long')", "BadValue", "wait is a number of seconds"),
        ("memory.get('a', wait=True)", "BadValue", "wait is a number of seconds"),
        ("memory.get('a', wait=-1)", "BadValue", "0 or more"),
        ("memory.pop('a', wait=float('nan'))", "BadValue", "0 or more"),
        ("memory.barrier('a', timeout=None)", "BadValue", "timeout is a number"),
        ("memory.lock('a', lease=0)", "BadValue", "above 0"),
        ("memory.lock('a', wait=None)", "BadValue", "wait is a number"),
        ("memory.increment('a', 'b')", "BadValue", "by a number, not by 'b'"),
        ("memory.increment('a', True)", "BadValue", "by a number, not by True"),
        ("memory.increment('a', float('inf'))", "BadValue", "finite"),
        ("memory.increment('a', 2**64)", "BadValue", "64 bits"),
        ("memory.increment('a', 10**5000)", "BadValue", "not by <int that cannot be shown>"),
        ("memory.increment('a', np.array([1, 2]))", "BadValue", "by a number, not by array"),
        ("memory.update('a', 'min', 1)", "BadValue", "a function of two values"),
        ("memory.get(10**5000)", "BadName", "text, not int: <int"),
        ("memory.get('a', wait=10**5000)", "BadValue", "0 or more, not <int"),
        ("memory.broadcast('a', 1, root=np.array([1, 2]))", "BadValue", "1 to 2, not array"),
        ("memory.reduce('a', 1, op=10**5000)", "BadValue", "a function of two values, not <int"),
        ("memory.broadcast('a', 1, root=3)", "BadValue", "1 to 2, not 3"),
        ("memory.broadcast('a', 1, root='one')", "BadValue", "1 to 2, not 'one'"),
        ("memory.broadcast('a', object())", "BadValue", "of type object"),
        ("memory.gather('a', object())", "BadValue", "of type object"),
        ("memory.reduce('a', 1, op='mean')", "BadValue", "sum, min, max, prod, or a function"),
        ("memory.reduce('a', 1, op=3)", "BadValue", "sum, min, max, prod, or a function"),
        ("memory.reduce('a', True)", "BadValue", "takes a number or an array"),
        ("memory.reduce('a', [1, 2])", "BadValue", "make a list an array"),
        ("memory.reduce('a', 'text')", "BadValue", "takes a number or an array"),
        ("memory.reduce('a', np.array([True]))", "BadValue", "arrays of dtype |b1"),
        ("memory.reduce('a', np.array(['a']))", "BadValue", "arrays of dtype <U1"),
    ],
)
def test_each_misuse_has_its_own_exception_and_changes_nothing(
    memory: Memory, node: MemoryNode, call: str, error: str, words: str
) -> None:
    asked = len(node.asked)
    with pytest.raises(program.SharedMemoryError) as caught:
        eval(call, {"memory": memory, "program": program, "np": np})
    assert type(caught.value).__name__ == error
    assert words in str(caught.value)
    assert len(node.asked) == asked


def test_very_long_waits_are_a_week(memory: Memory, node: MemoryNode) -> None:
    memory["a"] = 1
    assert memory.get("a", wait=math.inf) == 1
    assert node.asked[-1]["wait"] == 7 * 24 * 3600


def test_connections_are_kept_and_shared_by_threads(memory: Memory, node: MemoryNode) -> None:
    for _ in range(50):
        memory.increment("n")
    assert node.connections == 1
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: memory.increment("n"), range(200)))
    assert node.connections <= 5
    assert memory["n"] == 250


def test_a_connection_that_was_closed_meanwhile_is_made_anew(memory: Memory, node: MemoryNode) -> None:
    memory["a"] = 1
    (line,) = agent_line._idle
    line._socket.shutdown(socket.SHUT_RDWR)
    assert memory.increment("a") == 2
    assert node.connections == 2


@pytest.mark.skipif(os.name == "nt", reason="only where sockets are files")
def test_files_that_the_program_has_closed_are_opened_anew(memory: Memory, node: MemoryNode) -> None:
    memory["a"] = 1
    (line,) = agent_line._idle
    os.close(line._socket.fileno())
    assert [memory.increment("a"), memory.increment("a")] == [2, 3]
    assert node.connections == 2


def test_connections_of_many_threads_are_not_kept_from_others(memory: Memory, node: MemoryNode) -> None:
    with ThreadPoolExecutor(MAX_PER_PART - 1) as pool:
        waiting = [pool.submit(memory.get, "go", wait=20) for _ in range(MAX_PER_PART - 1)]
        memory["go"] = True
        assert all(each.result() for each in waiting)
    assert len(agent_line._idle) <= agent_line.MOST_IDLE
    assert node.run("print(memory['go'])", 2) == ["True"]


def test_whether_a_name_is_there_can_be_asked_whatever_is_there(memory: Memory, node: MemoryNode) -> None:
    for _ in range(10):
        memory.append("long", "x" * 1_900_000)
    assert "long" in memory
    with pytest.raises(program.MemoryFull, match="handed over at once"):
        memory["long"]
    memory["large"] = np.zeros(LARGE)
    assert "large" in memory
    assert "none" not in memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts open files as Linux does")
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="there, a mapped array keeps no file open")
def test_who_has_too_many_files_open_is_told(node: MemoryNode) -> None:
    code = """
import resource
import numpy as np
memory["a"] = np.zeros(200_000)
kept = [memory["a"]]
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
try:
    for _ in range(50):
        kept.append(memory["a"])
except program.MemoryFull as error:
    print(error)
kept = kept[:1]
print(memory["a"].sum())
"""
    (said,) = node.run(code, 2)
    assert "1600000 bytes cannot be mapped by this process: Too many open files. Let go" in said
    assert said.splitlines()[-1] == "0.0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_forked_child_has_a_connection_of_its_own(node: MemoryNode) -> None:
    code = """
import os
memory["before"] = 1
children = []
for child in range(3):
    children.append(os.fork())
    if not children[-1]:
        for _ in range(30):
            memory.increment("n")
        os._exit(0)
for _ in range(30):
    memory.increment("n")
print([os.waitpid(child, 0)[1] for child in children], memory["n"])
"""
    assert node.run(code, 2) == ["[0, 0, 0] 120"]
    assert node.connections == 4
