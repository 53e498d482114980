"""What is sent fits into a message, whatever it is made of."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.edge.weights import LONGEST_KEY, MOST_OF_A_JOB, batches, check_job, weight
from discomputify_core.errors import BadInput
from discomputify_core.model.codec import to_plain
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobSpec


def spec(key: str = "key", args: tuple[str, ...] = (), env: dict[str, str] | None = None) -> JobSpec:
    return JobSpec(ProcessId("job"), key, 3, "blake3:" + "0" * 64, args=args, env=env or {})


@given(st.lists(st.text(max_size=60)), st.integers(1, 200))
def test_batches_keep_order_and_weight(items: list[str], most: int) -> None:
    found = list(batches(items, most))
    assert [item for batch in found for item in batch] == items
    assert all(len(batch) == 1 or sum(map(weight, batch)) <= most for batch in found)
    assert all(batch for batch in found)


def test_a_weight_is_what_travels() -> None:
    assert weight(spec()) == len(msgpack.packb(to_plain(spec())))


@pytest.mark.parametrize("key", ["", "k" * (LONGEST_KEY + 1)])
def test_a_job_key_has_a_length(key: str) -> None:
    assert check_job(spec("k" * LONGEST_KEY)).parts == 3
    with pytest.raises(BadInput, match="key"):
        check_job(spec(key))


def test_a_job_that_is_too_big_is_the_users_to_mend() -> None:
    with pytest.raises(BadInput, match="into a file"):
        check_job(spec(args=("x" * MOST_OF_A_JOB,)))


@pytest.mark.parametrize("bad", [spec(args=("a\udcff",)), spec(env={"NAME": "\udcff"})])
def test_what_is_no_text_is_the_users_to_mend(bad: JobSpec) -> None:
    with pytest.raises(BadInput, match="not valid text"):
        check_job(bad)
