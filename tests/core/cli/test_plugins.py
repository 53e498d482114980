"""``discomputify plugins``, and commands that plugins bring: with distributions made for the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import discomputify_core

CONF = "discomputify_conf.json"

HOOKS = """
from discomputify_core.hookspecs import hookimpl

@hookimpl
def discomputify_register_schedulers():
    return {"mine": "nowhere:Mine"}

@hookimpl
def discomputify_register_commands():
    return {"greet": "greeting:greet", "submit": "greeting:greet"}
"""
GREETING = """
import click

@click.command()
def greet():
    "Greet."
    from discomputify_core.cli.common import conf_named
    click.echo(f"hello {conf_named()}")
"""


def distribution(folder: Path, name: str, hooks: str) -> None:
    """A distribution as pip would have installed it into *folder*."""
    info = folder / f"{name}-3.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 3.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[discomputify]\n{name} = hooks_of_{name}\n", encoding="utf-8")
    (folder / f"hooks_of_{name}.py").write_text(hooks, encoding="utf-8")


@pytest.fixture
def site(folder: Path, tmp_path: Path) -> Path:
    """A folder of installed distributions."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "greeting.py").write_text(GREETING, encoding="utf-8")
    return site


def discomputify(site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "discomputify_core.cli.main", *args],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_what_is_installed_and_selected(cli: Any, folder: Path) -> None:
    (folder / CONF).write_text(json.dumps({"SCHEDULER": "leastload"}), encoding="utf-8")
    answer = cli("plugins", "--json")
    assert (answer.code, answer.err) == (0, "")
    rows = {(row["kind"], row["name"]): row for row in answer.json()}
    version = discomputify_core.__version__
    assert rows["scheduler", "leastload"] == {
        "kind": "scheduler",
        "name": "leastload",
        "distribution": "discomputify-sched-leastload",
        "version": version,
        "selected": True,
    }
    assert rows["scheduler", "fifo"]["distribution"] == "discomputify-core"
    assert rows["scheduler", "fifo"]["selected"] is False
    assert rows["transport", "tcp"]["selected"] is True
    assert rows["store", "ftp"]["selected"] is True
    assert rows["role", "ftp_node"]["distribution"] == "discomputify-ftp"
    lines = [line.split() for line in cli("plugins").out.splitlines()]
    assert lines[0] == ["KIND", "NAME", "DISTRIBUTION", "VERSION", "SELECTED"]
    assert ["scheduler", "leastload", "discomputify-sched-leastload", version, "yes"] in lines


def test_a_plugin_that_the_conf_names_and_nobody_has(cli: Any, folder: Path) -> None:
    (folder / CONF).write_text(json.dumps({"STORE": "s3"}), encoding="utf-8")
    answer = cli("plugins")
    assert answer.code == 0
    assert "pip install discomputify-s3" in answer.err


def test_a_broken_conf_only_leaves_out_what_is_selected(cli: Any, folder: Path) -> None:
    (folder / CONF).write_text("{", encoding="utf-8")
    answer = cli("plugins", "--json")
    assert answer.code == 0
    assert "nothing is marked as selected" in answer.err
    assert not any(row["selected"] for row in answer.json())


def test_plugins_of_others(site: Path) -> None:
    distribution(site, "guest", HOOKS)
    answer = discomputify(site, "plugins", "--json")
    assert answer.returncode == 0, answer.stderr
    rows = [row for row in json.loads(answer.stdout) if row["distribution"] == "guest"]
    assert [(row["kind"], row["name"], row["version"]) for row in rows] == [
        ("scheduler", "mine", "3.2"),
        ("command", "greet", "3.2"),
        ("command", "submit", "3.2"),
    ]


def test_commands_of_plugins_run_and_take_no_name_of_ours(site: Path) -> None:
    distribution(site, "guest", HOOKS)
    answer = discomputify(site, "greet", "--conf", "x.json")
    assert (answer.returncode, answer.stdout) == (0, "hello x.json\n")
    shown = discomputify(site, "--help").stdout
    own, _, brought = shown.partition("Commands of plugins:")
    assert "Run a program directory as N parts." in own
    assert "greet" in brought
    assert "from guest 3.2" in brought
    assert "submit" not in brought


def test_a_broken_plugin_is_named_and_stops_no_command_that_does_not_need_it(site: Path, folder: Path) -> None:
    distribution(site, "wreck", "raise RuntimeError('out of order')")
    answer = discomputify(site, "plugins")
    assert answer.returncode == 3
    assert "fifo" in answer.stdout
    assert "'wreck' of wreck 3.2 cannot be imported: RuntimeError: out of order" in answer.stderr
    shown = discomputify(site, "--help")
    assert (shown.returncode, "submit" in shown.stdout) == (0, True)
    assert "wreck" in shown.stderr
    assert discomputify(site, "init").returncode == 0
    checked = discomputify(site, "config", "check")
    assert checked.returncode == 3
    assert "wreck 3.2" in checked.stderr
