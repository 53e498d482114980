"""Facts about this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from discomputify_core.edge import machine


def test_there_is_at_least_one_cpu_and_no_more_than_the_machine_has() -> None:
    assert 1 <= machine.usable_cpus() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_the_affinity_of_the_process_counts() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert machine.usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("max 100000", None), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1), ("", None), ("5 0", None)],
)
def test_quotas_of_control_groups(text: str, cpus: int | None) -> None:
    assert machine.cpu_quota(text) == cpus


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_control_groups_above_count_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "cgroup" / "outer" / "inner"
    inner.mkdir(parents=True)
    own = tmp_path / "own"
    own.write_text("1:name=systemd:/\n0::/outer/inner\n", encoding="utf-8")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "OWN_CGROUP", own)
    whole = machine.memory()
    (inner / "memory.max").write_text("max\n", encoding="utf-8")
    (inner.parent / "memory.max").write_text("1000000\n", encoding="utf-8")
    (inner.parent / "cpu.max").write_text("100000 100000\n", encoding="utf-8")
    assert (machine.memory(), machine.usable_cpus()) == (1000000, 1)
    own.write_text("0::/../elsewhere\n", encoding="utf-8")  # as a container sees it: only the top counts
    assert machine.memory() == whole
    (tmp_path / "cgroup" / "memory.max").write_text("2000000\n", encoding="utf-8")
    assert machine.memory() == 2000000


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_memory_that_is_left_is_the_least_of_all_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "cgroup" / "outer" / "inner"
    inner.mkdir(parents=True)
    own = tmp_path / "own"
    own.write_text("0::/outer/inner\n", encoding="utf-8")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "OWN_CGROUP", own)
    left, total = machine.memory_left()
    assert 0 < left <= total == machine.memory()
    for folder, most, used in ((inner, "max", 700), (inner.parent, "1000", 900)):
        (folder / "memory.max").write_text(f"{most}\n", encoding="utf-8")
        (folder / "memory.current").write_text(f"{used}\n", encoding="utf-8")
        (folder / "memory.stat").write_text("anon 850\nactive_file 20\ninactive_file 30\n", encoding="utf-8")
    (tmp_path / "cgroup" / "memory.stat").write_text("anon 1\n", encoding="utf-8")  # the top one has no limit
    assert machine.memory_left() == (130, 1000)


def test_names() -> None:
    assert machine.owner() == f"{machine.user_name()}@{machine.host_name()}"
    assert machine.owner().count("@") == 1


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert machine.user_name() in (str(os.getuid()) if hasattr(os, "getuid") else "", "unknown")


def test_own_addresses() -> None:
    own = machine.own_addresses()
    assert "127.0.0.1" in own
    assert machine.is_own("127.0.0.1", own)
    assert not machine.is_own("192.0.2.77", own)
    assert not machine.is_own("alpha", own)
    if sys.platform == "linux":
        assert machine.is_own("127.0.0.6", frozenset())
    assert machine.is_own("fe80::1%eth0", frozenset({"fe80::1"}))


def test_root_is_known() -> None:
    assert machine.is_root() is (hasattr(os, "geteuid") and os.geteuid() == 0)
