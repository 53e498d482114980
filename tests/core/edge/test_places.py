"""Disks and default folders."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from discomputify_core.edge import places
from discomputify_core.errors import DiskError

MOUNTS = [("/", "ext4"), ("/home", "nfs4"), ("/home/me/scratch", "xfs"), ("/tmp", "tmpfs"), ("/tmp", "ext3")]


@pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX")
@pytest.mark.parametrize(
    ("path", "kind", "mount"),
    [
        ("/etc", "ext4", "/"),
        ("/home/me", "nfs4", "/home"),
        ("/home/me/scratch/x", "xfs", "/home/me/scratch"),
        ("/home/me/scratch2", "nfs4", "/home"),
        ("/tmp/x", "ext3", "/tmp"),  # mounted over the other
    ],
)
def test_the_deepest_mount_counts(path: str, kind: str, mount: str) -> None:
    assert places.mounted(Path(path), MOUNTS) == (kind, mount)


def test_lines_of_mounts() -> None:
    assert places.parse_mount(r"srv:/x /mnt/my\040disk nfs4 rw 0 0") == ("/mnt/my disk", "nfs4")
    assert places.parse_mount("nonsense") is None


def test_a_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    found = places.disk(tmp_path / "a" / "b")
    assert 0 < found.free <= found.total
    assert places.existing(tmp_path / "a" / "b") == tmp_path
    assert places.default_cache_limit(tmp_path) == found.total // 10


def test_network_and_memory_are_told_apart() -> None:
    assert places.Disk("nfs4", "/home", 1, 1).network
    assert places.Disk("tmpfs", "/tmp", 1, 1).memory
    local = places.Disk("ext4", "/", 1, 1)
    assert (local.network, local.memory) == (False, False)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_memory_of_this_machine_is_seen() -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir():
        pytest.skip("no /dev/shm here")
    assert places.disk(shm).kind == "tmpfs"


def test_default_folders_are_per_user_and_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(places, "host_name", lambda: "al/pha")
    folder = places.default_folder("work")
    assert folder.parts[-2:] == ("al_pha", "work")
    if sys.platform == "linux":
        assert folder == tmp_path / "discomputify" / "al_pha" / "work"


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_a_network_home_is_avoided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(places, "_remote", lambda folder: folder.is_relative_to(tmp_path))
    folder = places.default_folder("cache")
    assert folder.is_relative_to("/var/tmp")
    assert folder.parts[-3].startswith("discomputify-")
    monkeypatch.setattr(places, "_remote", lambda folder: True)
    assert places.default_folder("cache").is_relative_to(tmp_path)


def test_private_folders(tmp_path: Path) -> None:
    folder = places.private_folder(tmp_path / "a" / "b")
    if os.name == "posix":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert places.private_folder(folder) == folder
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DiskError, match="cannot be used") as caught:
        places.private_folder(file / "x")
    assert caught.value.fields["path"] == str(file / "x")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    with pytest.raises(DiskError, match="belongs to another user"):
        places.private_folder(theirs)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    os.lchown(link, 12345, 12345)
    with pytest.raises(DiskError, match="link that another user made"):
        places.private_folder(link)


@pytest.mark.skipif(os.name != "posix", reason="only POSIX knows owners")
def test_the_default_folder_is_made_for_this_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "discomputify-me" / "host" / "work"
    monkeypatch.setattr(places, "default_folder", lambda name: folder)
    assert places.made_default_folder("work") == folder
    assert [stat.S_IMODE(each.stat().st_mode) for each in (folder, folder.parent.parent)] == [0o700, 0o700]
