"""``discomputify init``."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

CONF = "discomputify_conf.json"


def test_a_conf_for_this_machine(cli: Any, folder: Path) -> None:
    answer = cli("init")
    assert (answer.code, answer.err) == (0, "")
    data = json.loads((folder / CONF).read_text(encoding="utf-8"))
    assert data["MASTER_NODE"] == data["FTP_NODE"] == "127.0.0.1"
    assert data["ENCRYPTION_KEY"] == data["DECRYPTION_KEY"]
    if os.name == "posix":
        assert stat.S_IMODE((folder / CONF).stat().st_mode) == 0o600
    assert f"wrote {folder / CONF}" in answer.out
    assert "discomputify run all" in answer.out
    assert data["ENCRYPTION_KEY"] not in answer.out
    assert cli("config", "check").code == 0


def test_a_conf_for_several_machines(cli: Any, folder: Path) -> None:
    answer = cli("init", "--master", "alpha", "--store", "10.0.0.2", "--conf", "other.json")
    data = json.loads((folder / "other.json").read_text(encoding="utf-8"))
    assert (data["MASTER_NODE"], data["FTP_NODE"]) == ("alpha", "10.0.0.2")
    lines = [line.split() for line in answer.out.splitlines()]
    assert ["on", "alpha", "discomputify", "run", "master_node"] in lines
    assert ["on", "10.0.0.2", "discomputify", "run", "ftp_node"] in lines
    cli("init", "--master", "alpha")
    assert json.loads((folder / CONF).read_text(encoding="utf-8"))["FTP_NODE"] == "alpha"


def test_never_overwrites_without_force(cli: Any, folder: Path) -> None:
    cli("init")
    before = (folder / CONF).read_bytes()
    answer = cli("init", "--master", "alpha")
    assert (answer.code, answer.out) == (2, "")
    assert "--force" in answer.err
    assert (folder / CONF).read_bytes() == before
    assert cli("init", "--force").code == 0
    assert (folder / CONF).read_bytes() != before


@pytest.mark.parametrize("host", ["", "al pha", "alpha:80", "http://alpha"])
def test_a_wrong_host_is_refused(cli: Any, folder: Path, host: str) -> None:
    answer = cli("init", "--master", host)
    assert answer.code == 2
    assert "--master: expected a host name or address" in answer.err
    assert not (folder / CONF).exists()


def test_a_place_that_cannot_be(cli: Any, folder: Path) -> None:
    assert "does not exist" in cli("init", "--conf", str(folder / "no" / "c.json")).err
    answer = cli("init", "--conf", str(folder))
    assert answer.code == 2
    assert "names the folder" in answer.err


def test_says_when_another_conf_will_be_used(cli: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCOMPUTIFY_CONF", "/elsewhere.json")
    answer = cli("init")
    assert answer.code == 0
    assert "DISCOMPUTIFY_CONF names another conf" in answer.err
