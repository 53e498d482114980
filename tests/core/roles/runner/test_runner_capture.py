"""A capture keeps the beginning and the end of a stream, whatever the pieces in which it arrives."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discomputify_core.roles.runner.capture import TAIL_BYTES, TAIL_LINES, Capture


@given(pieces=st.lists(st.binary(max_size=40), max_size=30), cap=st.integers(0, 100))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
def test_beginning_and_end_are_kept(tmp_path: Path, pieces: list[bytes], cap: int) -> None:
    capture = Capture(str(tmp_path / "out"), cap)
    for piece in pieces:
        capture.write(piece)
    capture.close()
    capture.close()
    written = b"".join(pieces)
    kept = (tmp_path / "out").read_bytes()
    assert capture.total == len(written)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    if len(written) <= cap:
        assert kept == written
    else:
        mark = b"\n[discomputify: %s bytes of output were left out here]\n" % f"{len(written) - cap:,}".encode()
        head, tail = cap // 2, cap - cap // 2
        assert kept == written[:head] + mark + written[len(written) - tail :]


def test_the_beginning_is_in_the_file_at_once(tmp_path: Path) -> None:
    capture = Capture(str(tmp_path / "out"), 10)
    capture.write(b"hel")
    assert (tmp_path / "out").read_bytes() == b"hel"
    capture.write(b"lo world")
    assert (tmp_path / "out").read_bytes() == b"hello"
    capture.close()


def test_last_lines_are_bounded(tmp_path: Path) -> None:
    capture = Capture(str(tmp_path / "err"), 10, keep_lines=True)
    for number in range(5000):
        capture.write(b"%d\n" % number)
    assert capture.last_lines().split("\n") == [str(number) for number in range(5000 - TAIL_LINES, 5000)]
    capture.write(b"x" * 10 * TAIL_BYTES + b"\xff")
    assert re.fullmatch("x+\ufffd", capture.last_lines())
    assert len(capture.last_lines()) == TAIL_BYTES
    capture.close()


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept", encoding="utf-8")
    (tmp_path / "out").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"):
        Capture(str(tmp_path / "out"), 10)
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "kept"
