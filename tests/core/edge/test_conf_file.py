"""The conf on disk: where it is found, how a wrong file is told, how a new one is written."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import attrs
import pytest

from discomputify_core.edge import conf_file
from discomputify_core.errors import BadConf, BadInput, DiskError
from discomputify_core.model.conf import CONF_NAME, Conf, Place

KEY = "an0ther-Fresh-Key-of-32-letters!"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; the user's config folder is another empty one."""
    here, user = tmp_path / "here", tmp_path / "user" / CONF_NAME
    here.mkdir()
    user.parent.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("DISCOMPUTIFY_CONF", raising=False)
    monkeypatch.setattr(conf_file, "user_conf", lambda: user)
    return here


def written(path: Path, text: str = "{}", mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def text_of(path: Path) -> conf_file.ConfText:
    return conf_file.read_text(conf_file.Found(path, "--conf"))


def test_the_order_of_the_search(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert conf_file.find(None) is None
    user = written(conf_file.user_conf())
    assert conf_file.find(None) == conf_file.Found(user, "user's config folder")
    here = written(folder / CONF_NAME)
    assert conf_file.find(None) == conf_file.Found(here, "current folder")
    told = written(tmp_path / "told.json")
    monkeypatch.setenv("DISCOMPUTIFY_CONF", str(told))
    assert conf_file.find(None) == conf_file.Found(told, "DISCOMPUTIFY_CONF")
    named = written(tmp_path / "named.json")
    assert conf_file.find(named) == conf_file.Found(named, "--conf")
    monkeypatch.setenv("DISCOMPUTIFY_CONF", "")
    assert conf_file.find(None) == conf_file.Found(here, "current folder")


def test_the_conf_without_keys_of_a_part_does_not_hide_that_of_the_user(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = written(folder / CONF_NAME)
    monkeypatch.setenv("DISCOMPUTIFY_WORK_PATH", str(folder))
    assert conf_file.find(None) is None
    user = written(conf_file.user_conf())
    assert conf_file.find(None) == conf_file.Found(user, "user's config folder")
    monkeypatch.setenv("DISCOMPUTIFY_WORK_PATH", str(tmp_path))  # it went elsewhere
    assert conf_file.find(None) == conf_file.Found(here, "current folder")


def test_the_users_config_folder_is_the_systems_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert conf_file.user_conf().name == CONF_NAME
    assert conf_file.user_conf().parent.name == "discomputify"


def test_a_conf_that_was_named_has_to_exist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(folder / CONF_NAME)
    with pytest.raises(BadInput, match=r"--conf names .*nope\.json, which does not exist") as caught:
        conf_file.find(Path("nope.json"))
    assert caught.value.exit_code == 2
    with pytest.raises(BadInput, match="names the folder"):
        conf_file.find(folder)
    monkeypatch.setenv("DISCOMPUTIFY_CONF", "nope.json")
    with pytest.raises(BadInput, match="DISCOMPUTIFY_CONF names"):
        conf_file.find(None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"A": 1,\n "B": }', "line 2, column 7"),
        (b'{"A": 1,\n "B": "\xff"}', "line 2 is not UTF-8 text"),
        ('{"A": 1}'.encode("utf-16"), "line 1 is not UTF-8 text"),
        (b" " * (2 << 20), "larger than"),
        (b"", "the file is empty"),
    ],
)
def test_a_wrong_file_is_named_with_the_place(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(BadConf) as caught:
        text_of(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(b"\xef\xbb\xbf{}")
    assert text_of(path).data == {}


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConf, match="cannot be read"):
        text_of(tmp_path / "gone.json")
    with pytest.raises(BadConf, match="is not a file"):
        text_of(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BadConf, match="cannot be read"):
        text_of(tmp_path / "dangling")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_a_pipe_nobody_writes_to_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadConf, match="is not a file"):
        text_of(tmp_path / "pipe")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
def test_a_key_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    path = written(tmp_path / "c.json", json.dumps({"ENCRYPTION_KEY": KEY}), 0o644)
    (warning,) = text_of(path).warnings
    assert f"chmod 600 {path}" in warning
    path.chmod(0o600)
    assert text_of(path).warnings == ()
    assert text_of(written(path, "{}", 0o644)).warnings == ()
    assert KEY not in repr(text_of(written(path, json.dumps({"ENCRYPTION_KEY": KEY}))))


def test_relative_paths_start_at_the_confs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    conf = conf_file.anchored(
        Conf(work_path=Place("work"), cache_path=Place("~/cache"), python=Place("python3.12")), tmp_path
    )
    assert conf.ftp_base_path == str(tmp_path / "COMPUTING_DATA")
    assert conf.work_path == str(tmp_path / "work")
    assert conf.cache_path == str(Path("/home/me/cache").absolute())
    assert conf.python == "python3.12"
    assert conf_file.anchored(Conf(python=Place(".venv/bin/python")), tmp_path).python == str(
        tmp_path / ".venv/bin/python"
    )
    assert conf_file.anchored(Conf(), tmp_path) == attrs.evolve(Conf(), ftp_base_path=conf.ftp_base_path)


def test_a_new_conf_has_one_fresh_key_twice_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / CONF_NAME
    conf_file.write_new(path, "alpha", "beta")
    data = json.loads(path.read_text(encoding="utf-8"))
    assert (data["MASTER_NODE"], data["FTP_NODE"]) == ("alpha", "beta")
    assert data["ENCRYPTION_KEY"] == data["DECRYPTION_KEY"]
    assert len(data["ENCRYPTION_KEY"]) == 32
    assert data["ENCRYPTION_KEY"].isalnum()
    assert data["ENCRYPTION_KEY"].isascii()
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [CONF_NAME]


def test_a_conf_that_is_there_stays_unless_forced(tmp_path: Path) -> None:
    path = written(tmp_path / CONF_NAME, "mine", 0o644)
    with pytest.raises(BadInput, match=r"exists already.*--force") as caught:
        conf_file.write_new(path, "alpha", "alpha")
    assert caught.value.exit_code == 2
    assert path.read_text(encoding="utf-8") == "mine"
    conf_file.write_new(path, "alpha", "alpha", force=True)
    assert json.loads(path.read_text(encoding="utf-8"))["MASTER_NODE"] == "alpha"
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [CONF_NAME]


def test_a_dangling_link_counts_as_a_conf(tmp_path: Path) -> None:
    (tmp_path / CONF_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="exists already"):
        conf_file.write_new(tmp_path / CONF_NAME, "alpha", "alpha")
    assert not (tmp_path / "elsewhere").exists()


def test_a_conf_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path, fresh = written(tmp_path / CONF_NAME, "mine"), written(tmp_path / "fresh", "other")
    with pytest.raises(BadInput, match="exists already"):
        conf_file._place(fresh, path)
    assert path.read_text(encoding="utf-8") == "mine"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = written(tmp_path / "file")
    with pytest.raises(DiskError, match="cannot be written") as caught:
        conf_file.write_new(file / CONF_NAME, "alpha", "alpha")
    assert caught.value.fields["path"] == str(file / CONF_NAME)


def test_no_two_keys_are_alike() -> None:
    assert len({conf_file.new_key() for _ in range(50)}) == 50
