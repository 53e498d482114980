"""The units that ``discomputify service`` prints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.cli.service import unit
from discomputify_core.errors import BadInput

Cli = Callable[..., Any]


def test_a_unit_starts_what_run_would(cli: Cli, running_cluster: Any) -> None:
    answer = cli("--conf", str(running_cluster.conf), "service", "computing_node", "--name", "n", "--slots", "3")
    assert answer.code == 0
    lines = answer.out.splitlines()
    (start,) = (line for line in lines if line.startswith("ExecStart="))
    assert start.startswith("ExecStart=/")
    assert start.endswith(" run computing_node --name n --slots 3")
    assert f" -m discomputify_core.cli.main --conf {running_cluster.conf.resolve()} run " in start
    assert {"Restart=on-failure", "KillMode=mixed", "Delegate=yes", "WantedBy=multi-user.target"} <= set(lines)
    assert any(line.startswith("User=") for line in lines)
    assert running_cluster.loaded.conf.encryption_key not in answer.out
    assert "systemctl daemon-reload" in answer.err


def test_a_unit_of_a_user_has_no_account_and_waits_for_no_network(cli: Cli, running_cluster: Any) -> None:
    answer = cli("--conf", str(running_cluster.conf), "service", "master_node", "--user")
    assert answer.code == 0
    assert "User=" not in answer.out
    assert "network-online" not in answer.out
    assert "Delegate" not in answer.out
    assert "WantedBy=default.target" in answer.out
    assert "loginctl enable-linger" in answer.err


def test_a_role_that_there_is_not_is_refused(cli: Cli, running_cluster: Any) -> None:
    answer = cli("--conf", str(running_cluster.conf), "service", "cook")
    assert (answer.code, "no role 'cook'" in answer.err) == (2, True)


def test_words_are_written_so_that_systemd_reads_them_back() -> None:
    words = ["/my venv/py$thon", "--conf", '/a b/50% of "$HOME" \\ x.json', "plain"]
    text = unit("master_node", words, Path("/a b/50%"), "me", False)
    assert r'ExecStart="/my venv/py$thon" --conf "/a b/50%% of \"$$HOME\" \\ x.json" plain' in text.splitlines()
    assert "WorkingDirectory=/a b/50%%" in text.splitlines()
    with pytest.raises(BadInput, match="line break"):
        unit("master_node", ["/python", "a\nExecStartPre=/bin/x"], Path("/"), None, False)
