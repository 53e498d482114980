"""What travels arrives as it was; what is malformed is the peer's fault, and nothing else."""

import typing
from collections.abc import Mapping
from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discomputify_core.errors import PeerBroke
from discomputify_core.model import message as messages
from discomputify_core.model.codec import from_plain, shown, to_plain
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import AttemptReport, JobSpec, Request

#: All that travels as the data of a message, each with what is inside it.
KINDS = [
    *(
        kind
        for kind in vars(messages).values()
        if isinstance(kind, type) and attrs.has(kind) and kind not in (messages.Message, messages.RequestId)
    ),
    AttemptReport,
]
TEXTS = st.text(max_size=20)
#: Where values are not free; everything else follows from its type.
LIMITED: dict[Any, st.SearchStrategy[Any]] = {
    ProcessId: st.from_regex(r"job[a-z0-9_]{1,20}", fullmatch=True),
    (JobSpec, "process_id"): st.just("itself"),
    (JobSpec, "parts"): st.integers(1, 10_000_000),
    (JobSpec, "attempts"): st.integers(1, 9),
    (JobSpec, "lost_attempts"): st.integers(0, 9),
    (JobSpec, "per_node"): st.integers(0, 2**40),
    (JobSpec, "time_limit"): st.floats(0, 1e9),
    (JobSpec, "deadline"): st.floats(0, 1e9),
    (JobSpec, "memory_limit"): st.integers(0, 2**60),
    (JobSpec, "max_failures"): st.integers(0, 2**40),
    (JobSpec, "input_path"): st.sampled_from(["INPUT_PATH", "a/b"]),
    (JobSpec, "output_path"): st.sampled_from(["OUTPUT_PATH", "a/b"]),
    (Request, "cpus"): st.integers(1, 100),
    (Request, "memory"): st.integers(0, 2**60),
    (Request, "needs"): st.dictionaries(TEXTS, st.integers(1, 9), max_size=2),
    str: TEXTS,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bytes: st.binary(max_size=20),
    Any: TEXTS | st.integers(0, 9),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of the type *kind*."""
    if kind in LIMITED:
        return LIMITED[kind]
    if isinstance(kind, type) and attrs.has(kind):
        attrs.resolve_types(kind)
        fields = attrs.fields(kind)
        return st.builds(
            kind, **{f.name: values((kind, f.name) if (kind, f.name) in LIMITED else f.type) for f in fields}
        )
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        if inner[-1] is ...:
            return st.lists(values(inner[0]), max_size=2).map(tuple)
        return st.tuples(*map(values, inner))
    if typing.get_origin(kind) is Mapping:
        return st.dictionaries(values(inner[0]), values(inner[1]), max_size=2)
    if inner:
        return st.one_of(*map(values, inner))
    if hasattr(kind, "__supertype__"):
        return values(kind.__supertype__)
    return st.from_type(kind)


def travelled(plain: Any) -> Any:
    return msgpack.unpackb(msgpack.packb(plain), strict_map_key=False)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_every_message_arrives_as_it_was(kind: type, data: st.DataObject) -> None:
    value = data.draw(values(kind))
    assert from_plain(travelled(to_plain(value)), kind) == value


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_peer_sends_is_a_message_or_its_fault(kind: type, data: st.DataObject) -> None:
    names = [field.name for field in attrs.fields(kind)]
    plain = data.draw(PLAIN | st.dictionaries(st.sampled_from(names or ["none"]), PLAIN, max_size=5))
    try:
        found: object = from_plain(plain, kind)
    except PeerBroke as broke:
        found = broke
    assert isinstance(found, kind) or str(found).startswith(f"The peer sent a malformed {kind.__name__}: ")


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({"process_id": "job"}, "missing"),
        ({"process_id": "job", "part": "1"}, "expected a whole number, got '1'"),
        ({"process_id": 5, "part": 1}, "expected text, got 5"),
        ({"process_id": "job", "part": True}, "expected a whole number, got True"),
        ({"process_id": "job", "part": 1.0}, "expected a whole number, got 1.0"),
    ],
)
def test_nothing_is_coerced(plain: Any, said: str) -> None:
    with pytest.raises(PeerBroke) as caught:
        from_plain(plain, messages.LogAsked)
    assert said in str(caught.value)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(PeerBroke) as caught:
        from_plain({"process_id": 5, "part": "x", "offset": None}, messages.LogAsked)
    assert all(name in str(caught.value) for name in ("process_id", "part", "offset"))


def test_not_a_number_is_not_a_number_to_compute_with() -> None:
    with pytest.raises(PeerBroke, match="expected a number"):
        from_plain({"attempt": "a", "fraction": float("nan")}, messages.Progress)
    assert from_plain({"attempt": "a", "fraction": 1}, messages.Progress).fraction == 1.0


def test_unknown_fields_are_ignored_and_defaults_are_left_out() -> None:
    about = messages.AboutJob(ProcessId("job"))
    assert to_plain(about) == {"process_id": "job"}
    assert from_plain({"process_id": "job", "from_the_future": [1]}, messages.AboutJob) == about


def test_a_refused_value_is_told_in_its_own_words() -> None:
    with pytest.raises(PeerBroke, match="a job has 1 to 10,000,000 parts"):
        from_plain({"process_id": "job", "key": "k", "parts": 0, "tree": ""}, JobSpec)


def test_long_values_are_shown_short() -> None:
    assert len(shown("x" * 1000)) < 70
    assert shown("x") == "'x'"
