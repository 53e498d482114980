"""Which lines of a requirements.txt are checked on nodes."""

from pathlib import Path

import pytest

from discomputify_core.client import requirements
from discomputify_core.errors import BadInput
from discomputify_core.model.files import Entry, Manifest

TEXT = """
# what it needs
numpy>=2  # arrays
attrs
Torch==2.1 \\
    --hash=sha256:00
-r other.txt
--index-url https://example.org
requests[socks]>=2
pywin32; sys_platform == "win32"
thing @ https://example.org/thing.whl
./local
numpy>=2
"""


def test_plain_lines_are_taken_and_others_named() -> None:
    found, others = requirements.plain_lines(TEXT)
    assert found == ("numpy>=2", "attrs", "Torch==2.1")
    assert [line.split()[0] for line in others] == [
        "-r",
        "--index-url",
        "requests[socks]>=2",
        "pywin32;",
        "thing",
        "./local",
    ]


def test_what_is_given_comes_first_and_has_to_be_plain() -> None:
    assert requirements.required(["python==3.12"], "attrs\n") == ("python==3.12", "attrs")
    assert requirements.required([], "") == ()
    with pytest.raises(BadInput, match="names a place to install from"):
        requirements.required(["a @ https://example.org/a.whl"], "")


def test_a_new_file_takes_the_place_of_the_old_one() -> None:
    before = requirements.required(["python>=3.10"], "numpy>=2\nattrs\n")
    packages = requirements.packages_in("numpy>=2\nattrs\n")
    assert requirements.required_again(before, packages, "numpy>=1\n") == ("python>=3.10", "numpy>=1")


def test_a_file_that_is_not_uploaded_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("attrs\n", encoding="utf-8-sig")
    assert requirements.read(tmp_path, Manifest([])) == ""
    assert requirements.read(tmp_path, Manifest([Entry("requirements.txt", 6, "blake3:" + "0" * 64)])) == "attrs\n"
    assert requirements.read(tmp_path / "none", Manifest([Entry("requirements.txt", 6, "blake3:" + "0" * 64)])) == ""
