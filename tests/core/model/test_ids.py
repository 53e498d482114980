"""Names: what may be one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.errors import BadInput
from discomputify_core.model.ids import (
    MAX_PARTS,
    attempt_id,
    check_node_name,
    check_parts,
    check_process_id,
    job_of,
    reserved_on_windows,
)


@pytest.mark.parametrize("text", ["a", "1732270000000000", "job-1", "a.b", "_x", "A" * 128, "console", "com"])
def test_process_ids(text: str) -> None:
    assert check_process_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a/b",
        "..",
        "a..b",
        ".a",
        "a.",
        "-a",
        "a b",
        "a\n",
        "a\\b",
        "ü",
        "A" * 129,
        "nul",
        "NUL.txt",
        "com1",
        "a\x00b",
    ],
)
def test_what_is_no_process_id(text: str) -> None:
    with pytest.raises(BadInput, match="PROCESS_ID"):
        check_process_id(text)


@given(st.text(max_size=140))
def test_a_process_id_is_a_folder_name_everywhere(text: str) -> None:
    try:
        check_process_id(text)
    except BadInput:
        return
    assert text.isascii()
    assert not set(text) & set('/\\:*?"<>| \n\t')
    assert ".." not in text
    assert not text.startswith((".", "-"))
    assert not text.endswith(".")
    assert len(text) <= 128


@pytest.mark.parametrize("parts", [1, MAX_PARTS])
def test_numbers_of_parts(parts: int) -> None:
    assert check_parts(parts) == parts


@pytest.mark.parametrize("parts", [0, -1, MAX_PARTS + 1])
def test_what_is_no_number_of_parts(parts: int) -> None:
    with pytest.raises(BadInput, match=f"--parts {parts}"):
        check_parts(parts)


@pytest.mark.parametrize("name", ["node", "127.0.0.1", "[::1]", "fe80::1%eth0", "a_b-c.d"])
def test_node_names(name: str) -> None:
    assert check_node_name(name) == name


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "-a", "é", "a\n", "n" * 129])
def test_what_is_no_node_name(name: str) -> None:
    with pytest.raises(BadInput, match="node name"):
        check_node_name(name)


@pytest.mark.parametrize("name", ["con", "NUL", "Com1", "lpt9.txt", "aux .txt", "prn.tar.gz"])
def test_windows_devices(name: str) -> None:
    assert reserved_on_windows(name)


@pytest.mark.parametrize("name", ["console", "com", "com10", "nully", "x.con", ""])
def test_what_is_no_windows_device(name: str) -> None:
    assert not reserved_on_windows(name)


def test_attempt_ids_differ_wherever_something_differs() -> None:
    made = {
        attempt_id(check_process_id(pid), part, number, key)
        for pid in ("a", "b")
        for part in (1, 2)
        for number in (1, 2)
        for key in ("k", "l")
    }
    assert len(made) == 16


@pytest.mark.parametrize("name", ["a", "a.1", "1.2.3.4", "_x.y-z"])
def test_an_attempt_tells_its_job(name: str) -> None:
    assert job_of(attempt_id(check_process_id(name), 12, 3, "key")) == name
