"""``discomputify doctor``: what is wrong comes with its fix."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.cli import doctoring
from discomputify_core.client import contact
from discomputify_core.edge.places import Disk

Cli = Callable[..., Any]


def changed(conf: Path, folder: Path, **values: Any) -> str:
    """The path of a copy of *conf* with other values."""
    found = json.loads(conf.read_text(encoding="utf-8"))
    place = folder / "changed.json"
    place.touch(0o600)
    place.write_text(json.dumps({**found, **values}), encoding="utf-8")
    return str(place)


def test_a_healthy_cluster(cli: Cli, running_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctoring, "NEARLY_FULL", 0)
    answer = cli("--conf", str(running_cluster.conf), "doctor")
    assert "keys and protocol match" in answer.out
    assert "discomputify-tcp 2." in answer.out.partition("master_node at")[2]
    assert "computing node local: live" in answer.out
    assert "store at 127.0.0.1" in answer.out
    assert "wrong" not in answer.out, answer.out
    assert answer.code == 0
    found = cli("--conf", str(running_cluster.conf), "doctor", "--json").json()
    assert {each["verdict"] for each in found} <= {"ok", "note"}


def test_no_conf(cli: Cli, folder: Path) -> None:
    answer = cli("doctor")
    assert (answer.code, "no conf found" in answer.out) == (0, True)


def test_a_conf_that_cannot_be_used(cli: Cli, folder: Path) -> None:
    (folder / "discomputify_conf.json").write_text("{", encoding="utf-8")
    answer = cli("doctor")
    assert answer.code == 1
    assert "fix: mend the conf" in answer.out


def test_services_that_are_not_there(
    cli: Cli, running_cluster: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact, "FIRST_CONTACT", 0.3)
    answer = cli("--conf", changed(running_cluster.conf, folder, MASTER_PORT=1), "doctor")
    assert answer.code == 1
    assert "wrong   master_node at 127.0.0.1:1" in answer.out
    assert "fix: start it there (discomputify run master_node)" in answer.out


def test_another_key(cli: Cli, running_cluster: Any, folder: Path) -> None:
    key = "0123456789abcdefghijklmnopqrstuv"
    conf = changed(running_cluster.conf, folder, ENCRYPTION_KEY=key, DECRYPTION_KEY=key)
    answer = cli("--conf", conf, "doctor")
    assert answer.code == 1
    assert "fix: copy one conf to all machines unchanged" in answer.out


@pytest.mark.parametrize(
    ("disk", "verdict", "said"),
    [
        ({"kind": "nfs4"}, "wrong", "a network file system"),
        ({"kind": "tmpfs"}, "note", "gone after a reboot"),
        ({"free": 1000}, "wrong", "nearly full"),
        ({}, "ok", "free of"),
    ],
)
def test_disks(
    cli: Cli, running_cluster: Any, monkeypatch: pytest.MonkeyPatch, disk: dict[str, Any], verdict: str, said: str
) -> None:
    monkeypatch.setattr(doctoring, "disk", lambda place: made_disk(**disk))
    found = cli("--conf", str(running_cluster.conf), "doctor", "--json").json()
    (about,) = [each for each in found if each["what"].startswith("WORK_PATH")]
    assert about["verdict"] == verdict
    assert said in about["what"]
    assert bool(about["fix"]) is (verdict != "ok")


def made_disk(kind: str = "ext4", free: int = 10**12) -> Disk:
    return Disk(kind, "/", free, 2 * 10**12)
