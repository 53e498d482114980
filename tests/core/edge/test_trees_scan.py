"""Folders as trees: what is taken, what is left out, what is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discomputify_core.edge import trees
from discomputify_core.errors import BadInput, BadPath, FileChanged
from discomputify_core.interfaces.files import Hasher
from discomputify_core.model.files import check_path
from discomputify_testkit.fakes.memory_store import MemoryStore, digest_of

hasher: Callable[[], Hasher] = MemoryStore.hasher
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


def write(folder: Path, *paths: str, data: bytes = b"x") -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def names(scanned: trees.Scan) -> list[str]:
    return [entry.path + "/" * entry.folder for entry in scanned.manifest.entries]


def left_out(scanned: trees.Scan) -> dict[str, str]:
    return {each.path: each.reason for each in scanned.ignored}


def test_files_folders_sizes_digests_and_modes(tmp_path: Path) -> None:
    write(tmp_path, "main.py", "INPUT_PATH/grüße 世界.txt", data=b"hello")
    write(tmp_path, "empty", data=b"")
    (tmp_path / "run.sh").write_bytes(b"#!")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "a" / "b").mkdir(parents=True)
    scanned = trees.scan(tmp_path, hasher=hasher)
    assert names(scanned) == ["INPUT_PATH/grüße 世界.txt", "a/b/", "empty", "main.py", "run.sh"]
    entries = {entry.path: entry for entry in scanned.manifest.entries}
    assert entries["main.py"].digest == digest_of(b"hello")
    assert entries["main.py"].size == 5
    assert entries["empty"].size == 0
    if os.name == "posix":
        assert [entry.path for entry in scanned.manifest.files if entry.executable] == ["run.sh"]
    assert len(scanned.blobs) == 3


def test_what_is_never_uploaded(tmp_path: Path) -> None:
    write(tmp_path, "main.py", "discomputify_conf.json", "sub/Discomputify_CONF.json", ".git/config", "sub/.git")
    write(tmp_path, "__pycache__/main.pyc", "sub/__pycache__/x.pyc", ".venv/pyvenv.cfg", ".venv/lib/x.py")
    write(
        tmp_path, "OUTPUT_PATH/old", "sub/OUTPUT_PATH/kept", "results/1700/.discomputify_job", "results/1700/1700_1_2/x"
    )
    write(tmp_path, "elsewhere/other.json", ".gitignore", data=b"main.py")
    scanned = trees.scan(
        tmp_path, hasher=hasher, also_ignored={tmp_path / "elsewhere" / "other.json": "it is the conf"}
    )
    assert names(scanned) == [".gitignore", "elsewhere/", "main.py", "results/", "sub/OUTPUT_PATH/kept"]
    assert list(left_out(scanned)) == [
        ".git/", ".venv/", "OUTPUT_PATH/", "__pycache__/", "discomputify_conf.json", "elsewhere/other.json",
        "results/1700/", "sub/.git", "sub/Discomputify_CONF.json", "sub/__pycache__/",
    ]  # fmt: skip
    assert "key" in left_out(scanned)["discomputify_conf.json"]
    assert left_out(scanned)["elsewhere/other.json"] == "it is the conf"


def test_another_output_path(tmp_path: Path) -> None:
    write(tmp_path, "main.py", "data/out/x", "OUTPUT_PATH/y")
    assert names(trees.scan(tmp_path, hasher=hasher, output_path="data/out")) == ["OUTPUT_PATH/y", "data/", "main.py"]


def test_the_ignore_file(tmp_path: Path) -> None:
    write(tmp_path, "main.py", "a.log", "keep.log", "data/big.bin", "data/sub/big.bin", "src/data/x", "notes/todo")
    lines = "# comment\n*.log\n!keep.log\n/data/\nbig.bin\nnotes/*\n"
    (tmp_path / ".discomputifyignore").write_text(lines, encoding="utf-8")
    scanned = trees.scan(tmp_path, hasher=hasher)
    assert names(scanned) == ["keep.log", "main.py", "notes/", "src/data/x"]
    assert list(left_out(scanned)) == [".discomputifyignore", "a.log", "data/", "notes/todo"]
    assert left_out(scanned)["a.log"] == ".discomputifyignore lists it"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"fine\n!\n"])
def test_an_ignore_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "main.py")
    (tmp_path / ".discomputifyignore").write_bytes(content)
    with pytest.raises(BadInput, match=r"\.discomputifyignore"):
        trees.scan(tmp_path, hasher=hasher)


@posix
def test_links_inside_are_followed(tmp_path: Path) -> None:
    write(tmp_path, "main.py", "lib/mod.py", data=b"code")
    (tmp_path / "alias.py").symlink_to("main.py")
    (tmp_path / "lib2").symlink_to(tmp_path / "lib")
    scanned = trees.scan(tmp_path, hasher=hasher)
    assert names(scanned) == ["alias.py", "lib/mod.py", "lib2/mod.py", "main.py"]
    assert len(scanned.blobs) == 1


@posix
def test_links_cannot_bring_in_what_is_never_uploaded(tmp_path: Path) -> None:
    write(tmp_path, "main.py", "discomputify_conf.json", ".git/hooks/x", "env/pyvenv.cfg", "env/lib/y")
    for name, target in [("a", "discomputify_conf.json"), ("b", ".git/hooks"), ("c", "env/lib/y")]:
        (tmp_path / name).symlink_to(target)
    (tmp_path / "env" / "bin").symlink_to("/usr/bin")
    assert names(trees.scan(tmp_path, hasher=hasher)) == ["main.py"]


@posix
def test_all_problems_come_together_with_their_paths(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    write(tree, "main.py", "sub/deep/x", "ends in space ")
    write(tmp_path, "outside")
    (tree / "escape").symlink_to("../outside")
    (tree / "passwd").symlink_to("/etc/passwd")
    (tree / "dangling").symlink_to("nowhere")
    (tree / "sub" / "deep" / "circle").symlink_to("..")
    (tree / "self").symlink_to("self")
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        here = Path.cwd()
        os.chdir(tree)  # the path of a socket is short
        try:
            unix.bind("socket")
        finally:
            os.chdir(here)
    with pytest.raises(BadPath) as caught:
        trees.scan(tree, hasher=hasher)
    text = str(caught.value)
    assert set(caught.value.fields["paths"]) == {
        "escape", "passwd", "dangling", "sub/deep/circle", "self", "pipe", "socket", "ends in space ",
    }  # fmt: skip
    for words in (
        "8 files",
        "../outside",
        "/etc/passwd",
        "nowhere",
        "in a circle",
        "a named pipe",
        "a socket",
        "space",
    ):
        assert words in text


@posix
def test_only_the_first_problems_are_shown(tmp_path: Path) -> None:
    for number in range(25):
        (tmp_path / f"link{number:02}").symlink_to("/nowhere")
    with pytest.raises(BadPath, match="and 15 more") as caught:
        trees.scan(tmp_path, hasher=hasher)
    assert len(caught.value.fields["paths"]) == 25
    (tmp_path / ".discomputifyignore").write_text("link*\n", encoding="utf-8")
    assert names(trees.scan(tmp_path, hasher=hasher)) == []


@posix
def test_names_that_are_not_text_are_refused(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system only takes names that are text")
    with pytest.raises(BadPath, match="not valid text"):
        trees.scan(tmp_path, hasher=hasher)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "main.py", "secret")
    plain = os.open

    def refusing(path: Path, flags: int, *more: int) -> int:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return plain(path, flags, *more)

    monkeypatch.setattr("discomputify_core.edge.tree_hash.os.open", refusing)
    with pytest.raises(BadInput, match="secret cannot be read: Permission denied"):
        trees.scan(tmp_path, hasher=hasher)


def test_a_file_that_does_not_hold_still_is_named(tmp_path: Path) -> None:
    write(tmp_path, "growing", "main.py")

    class Growing:
        def __init__(self) -> None:
            self._plain = hasher()

        def update(self, data: bytes | bytearray | memoryview, /) -> None:
            with (tmp_path / "growing").open("ab") as file:
                file.write(b"more")

        def digest(self) -> object:
            return self._plain.digest()

    with pytest.raises(FileChanged, match="growing"):
        trees.scan(tmp_path, hasher=Growing)  # type: ignore[arg-type]


def test_a_very_deep_tree(tmp_path: Path) -> None:
    write(tmp_path, "/".join(["d"] * 450) + "/file")
    assert len(trees.scan(tmp_path, hasher=hasher).files) == 1
    write(tmp_path, "/".join(["d"] * 450) + "/" + "e" * 200)
    with pytest.raises(BadPath, match="longer than 1024"):
        trees.scan(tmp_path, hasher=hasher)


def test_program_directories_are_checked_quickly(tmp_path: Path) -> None:
    for folder, words in [("missing", "does not exist"), ("empty", "is empty"), ("file", "is not a folder")]:
        if folder == "empty":
            (tmp_path / folder).mkdir()
        if folder == "file":
            write(tmp_path, folder)
        with pytest.raises(BadInput, match=words) as caught:
            trees.check_program(tmp_path / folder)
        assert str(tmp_path / folder) in str(caught.value)
    write(tmp_path, *(f"other/f{n:02}.py" for n in range(20)), "other/sub/x")
    with pytest.raises(BadInput, match=r"no main\.py in .*found: f00\.py, .*and 11 more"):
        trees.check_program(tmp_path / "other")
    write(tmp_path, "other/main.py")
    trees.check_program(tmp_path / "other")
    with pytest.raises(BadInput):
        trees.scan(tmp_path / "missing", hasher=hasher)


@pytest.mark.parametrize("path", ["INPUT_PATH", "out", "out/here"])
def test_a_file_in_the_place_of_a_folder_that_parts_need_is_named(tmp_path: Path, path: str) -> None:
    write(tmp_path, "main.py", path)
    entries = trees.scan(tmp_path, hasher=hasher).manifest.entries
    trees.check_folders(entries, ("data", "output"))
    with pytest.raises(BadInput, match=f"has a file '{path}' where the folder 'INPUT_PATH|out/here' is needed"):
        trees.check_folders(entries, ("INPUT_PATH", "out/here"))


def test_names_that_no_tree_could_hold_alone_are_refused_below_a_prefix(tmp_path: Path) -> None:
    write(tmp_path, "C:x" if os.name == "posix" else "x.txt")
    collected = trees.collect(tmp_path, hasher=hasher, prefix="outputs")
    collected.manifest.under("outputs")
    assert len(collected.files) + len(collected.warnings) == 1


@posix
def test_outputs_are_collected_and_what_cannot_be_kept_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, "result.txt", "sub/.git/x", "discomputify_conf.json", "skipped/y", "bad ")
    (tmp_path / "empty").mkdir()
    (tmp_path / "escape").symlink_to("/etc/passwd")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "inside").symlink_to("result.txt")
    os.mkfifo(tmp_path / "pipe")
    collected = trees.collect(tmp_path, hasher=hasher, prefix="outputs", skip=lambda path: path == "skipped")
    assert names(collected) == [
        "outputs/discomputify_conf.json", "outputs/empty/", "outputs/inside", "outputs/loop/", "outputs/result.txt",
        "outputs/sub/.git/x",
    ]  # fmt: skip
    assert len(collected.warnings) == 4
    assert {"bad ", "/etc/passwd", "in a circle", "a named pipe"} == {
        words
        for words in ("bad ", "/etc/passwd", "in a circle", "a named pipe")
        if words in " ".join(collected.warnings)
    }
    assert trees.collect(tmp_path, hasher=hasher, prefix="p" * 240 + "/q" * 391).manifest.entries == ()
    picked = trees.pick(tmp_path, ["pipe", "escape", "inside", "loop", "bad ", "gone"], hasher=hasher, prefix="c")
    assert names(picked) == ["c/inside"]
    said = " ".join(picked.warnings)
    for words in (
        "pipe is a named pipe",
        "escape leads out",
        "loop is a link to a folder",
        "'bad '",
        "gone leads nowhere",
    ):
        assert words in said
    log = trees.local_file(tmp_path / "result.txt", "logs/out", hasher)
    assert (log.entry.path, log.entry.size, log.blob.path) == ("logs/out", 1, tmp_path / "result.txt")


paths = st.lists(st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=8), max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(paths.map("/".join), max_size=8))
def test_a_scan_finds_exactly_what_was_written(tmp_path_factory: pytest.TempPathFactory, wanted: list[str]) -> None:
    folder = tmp_path_factory.mktemp("tree")
    written = set()
    for path in wanted:
        try:
            write(folder, check_path(path), data=path.encode())
        except (BadPath, OSError):
            continue
        written.add(path)
    scanned = trees.scan(folder, hasher=hasher)
    assert {file.path for file in scanned.files} == written
    assert all(file.digest == digest_of(file.path.encode()) for file in scanned.files)
