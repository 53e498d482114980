"""``discomputify config``, with the plugins that are really installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

CONF = "discomputify_conf.json"
KEY = "an0ther-Fresh-Key-of-32-letters!"


def write(folder: Path, **keys: Any) -> Path:
    path = folder / CONF
    path.write_text(json.dumps({"ENCRYPTION_KEY": KEY, "DECRYPTION_KEY": KEY, **keys}), encoding="utf-8")
    path.chmod(0o600)
    return path


def test_a_right_conf(cli: Any, folder: Path) -> None:
    path = write(folder, SCHEDULER="leastload")
    answer = cli("config", "check")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        f"{path} (by current folder) is right.",
        "transport tcp, store ftp, scheduler leastload, engine nodes",
    ]


def test_every_mistake_at_once_also_the_plugins(cli: Any, folder: Path) -> None:
    path = write(folder, MASTER_PORT="abc", DECRYPTION_KEY="short", SCHEDULER="lest", MASTR_NODE="x", tcp={"alow": 1})
    answer = cli("config", "check")
    assert (answer.code, answer.out) == (2, "")
    lines = answer.err.splitlines()
    assert lines[0] == f"error: {path} cannot be used, 4 mistakes:"
    assert "  expected a port (1 to 65535), got 'abc' @ MASTER_PORT" in lines
    assert "  expected 32 ASCII characters, got 5 characters @ DECRYPTION_KEY" in lines
    assert any("'alow'" in line and line.endswith("@ tcp.alow") for line in lines)
    assert any("'lest'" in line and "leastload" in line and line.endswith("@ SCHEDULER") for line in lines)
    assert any("did you mean 'MASTER_NODE'?" in line for line in lines)


def test_keys_that_are_missing_are_told_with_the_rest(cli: Any, folder: Path) -> None:
    write(folder, ENCRYPTION_KEY=None, DECRYPTION_KEY=None, TIMEOUT=0)
    answer = cli("config", "check")
    assert answer.code == 2
    for key in ("ENCRYPTION_KEY", "DECRYPTION_KEY", "TIMEOUT"):
        assert sum(line.endswith(f"@ {key}") for line in answer.err.splitlines()) == 1


def test_broken_json_names_file_line_and_column(cli: Any, folder: Path) -> None:
    (folder / CONF).write_text('{"A": 1,\n  oops}', encoding="utf-8")
    answer = cli("config", "check")
    assert answer.code == 2
    assert f"{folder / CONF} is not a conf: line 2, column 3" in answer.err


def test_a_conf_that_others_can_read_is_one_warning(cli: Any, folder: Path) -> None:
    write(folder).chmod(0o644)
    answer = cli("config", "check")
    assert answer.code == 0
    assert answer.err.count("chmod 600") == 1


def test_without_a_conf(cli: Any, folder: Path) -> None:
    answer = cli("config", "check")
    assert answer.code == 2
    assert "No conf found" in answer.err
    assert "discomputify init" in answer.err
    shown = cli("config", "show", "--json")
    assert shown.code == 0
    assert "these are the defaults" in shown.err
    assert shown.json()["path"] is None
    assert shown.json()["values"]["TIMEOUT"] == {"value": 60.0, "source": "default"}


def test_show_says_where_every_value_is_from(cli: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder, COMPUTING_PORT=4000, tcp={"allow_published_key": True}, WORK_PATH="work", roundrobin={})
    answer = cli("config", "show", "--json")
    assert answer.code == 0
    shown = answer.json()
    assert (shown["path"], shown["found_by"]) == (str(path), "current folder")
    values = shown["values"]
    assert values["COMPUTING_PORT"] == {"value": 4000, "source": "file"}
    assert values["MASTER_PORT"] == {"value": 4000, "source": "default: COMPUTING_PORT"}
    assert values["QUERY_NODE"]["source"] == "default: FTP_NODE"
    assert values["WORK_PATH"] == {"value": str(folder / "work"), "source": "file"}
    assert values["SLOTS"]["value"] >= 1
    assert values["SLOTS"]["source"] == "default: this machine"
    assert values["tcp.allow_published_key"] == {"value": True, "source": "file"}
    assert values["FTP_BASE_PATH"] == {"value": str(folder / "COMPUTING_DATA"), "source": "default"}


def test_show_masks_keys(cli: Any, folder: Path) -> None:
    write(folder)
    for answer in (cli("config", "show"), cli("config", "show", "--json")):
        assert answer.code == 0
        assert KEY not in answer.out + answer.err
        assert "********" in answer.out


def test_show_in_a_pipe_is_plain_lines(cli: Any, folder: Path) -> None:
    write(folder, COMPUTING_NODES=["alpha", "beta"])
    lines = cli("config", "show").out.splitlines()
    assert lines[1].split() == ["KEY", "VALUE", "FROM"]
    assert ["COMPUTING_NODES", "alpha,", "beta", "file"] in [line.split() for line in lines]


def test_schema_describes_the_installed_plugins(cli: Any, folder: Path) -> None:
    answer = cli("config", "schema")
    assert (answer.code, answer.err) == (0, "")
    properties = answer.json()["properties"]
    assert properties["MASTER_NODE"]["type"] == "string"
    assert properties["tcp"]["properties"]["allow_published_key"]["type"] == "boolean"
    assert properties["tcp"]["additionalProperties"] is False


def test_conf_may_stand_before_and_after_the_command(cli: Any, folder: Path) -> None:
    write(folder).rename(folder / "one.json")
    write(folder).rename(folder / "two.json")
    one, two = str(folder / "one.json"), str(folder / "two.json")
    assert cli("--conf", one, "config", "check").out.startswith(one)
    assert cli("config", "--conf", one, "check").out.startswith(one)
    assert cli("config", "check", "--conf", one).out.startswith(one)
    assert cli("--conf", one, "config", "check", "--conf", two).out.startswith(two)
    answer = cli("config", "check", "--conf", "nope.json")
    assert answer.code == 2
    assert "nope.json, which does not exist" in answer.err
