"""A conf made ready for use: all mistakes at once, and only the plugins that are asked for imported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from discomputify_core.edge import conf_file, names
from discomputify_core.edge.opening import ALL_KINDS, equip, need_conf, open_conf
from discomputify_core.errors import BadConf, BadInput, OurBug, PluginBroke, PluginMissing
from discomputify_core.model.conf import Conf, Name
from discomputify_core.plugins import manager, selection
from discomputify_core.plugins.fifo import Fifo

KEY = "an0ther-Fresh-Key-of-32-letters!"


@attrs.frozen
class WireOptions:
    secure: bool = True


class Wire:
    """Stands in for a transport, as far as a conf goes."""

    name = "wire"
    options = WireOptions

    def __init__(self, conf: Conf, options: WireOptions) -> None:
        self.conf, self.settings = conf, options

    @classmethod
    def check(cls, conf: Conf, options: WireOptions) -> Sequence[str]:
        found = [] if conf.encryption_key else ["expected a key @ ENCRYPTION_KEY"]
        return [*found, *([] if options.secure else ["expected to be secure @ wire.secure"])]


class Broken(Wire):
    name = "broken"

    @classmethod
    def check(cls, conf: Conf, options: WireOptions) -> Sequence[str]:
        raise RuntimeError("out of order")


class Shelf:
    name = "shelf"
    options = None

    def __init__(self, conf: Conf, options: None, query: Any, files: Any) -> None:
        self.asked = (options, query, files)


class Keeper:
    name = "keeper"
    section = "wire"
    options = WireOptions

    def __init__(self, conf: Conf, options: WireOptions) -> None:
        self.settings = options


class Stranger(Keeper):
    name = "stranger"

    @attrs.frozen
    class Other:
        deep: int = 1

    options = Other  # type: ignore[assignment]  # another class for one section: what the test is about


CLASSES: dict[tuple[str, str], type] = {
    ("transport", "wire"): Wire,
    ("transport", "broken"): Broken,
    ("store", "shelf"): Shelf,
    ("scheduler", "fifo"): Fifo,
    ("role", "keeper"): Keeper,
    ("role", "stranger"): Stranger,
}


@pytest.fixture(autouse=True)
def imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The plugins above are installed; returns the kinds whose classes were imported."""
    asked: list[str] = []

    def load(**_: Any) -> manager.Plugins:
        plugins = manager.Plugins()
        origin = manager.Origin("x", "dist-x", "1")
        for kind, name in CLASSES:
            plugins._note(manager.Registered(kind, name, f"m:{name}", origin))
        plugins._note(manager.Registered("engine", "nodes", "", origin))
        return plugins

    def imported(found: manager.Registered) -> type:
        asked.append(found.kind)
        return CLASSES[found.kind, found.name]

    monkeypatch.setattr(manager.Plugins, "load", load)
    monkeypatch.setattr(selection, "_imported", imported)
    monkeypatch.setattr(selection, "_interface", lambda _: object)
    monkeypatch.delenv("DISCOMPUTIFY_CONF", raising=False)
    monkeypatch.setattr(conf_file, "user_conf", lambda: tmp_path / "no" / "conf")
    monkeypatch.chdir(tmp_path)
    return asked


def conf_of(path: Path, **keys: Any) -> Path:
    file = path / "c.json"
    data = {"TRANSPORT": "wire", "STORE": "shelf", "ENCRYPTION_KEY": KEY, "DECRYPTION_KEY": KEY, **keys}
    file.write_text(json.dumps(data), encoding="utf-8")
    file.chmod(0o600)
    return file


def test_no_conf_is_none_or_an_error_that_says_where_was_looked(tmp_path: Path) -> None:
    assert open_conf(None) is None
    with pytest.raises(BadInput, match="No conf found") as caught:
        need_conf(None)
    assert str(tmp_path) in str(caught.value)


def test_what_is_loaded(tmp_path: Path) -> None:
    path = conf_of(tmp_path, wire={"secure": True}, FTP_BASE_PATH="data", MASTR_NODE="x")
    loaded = need_conf(path, ALL_KINDS, ("keeper",))
    assert (loaded.path, loaded.found_by) == (path, "--conf")
    assert loaded.conf.ftp_base_path == str(tmp_path / "data")
    assert {"TRANSPORT", "wire.secure"} <= loaded.given
    assert loaded.warnings == ("unknown key 'MASTR_NODE' is ignored; did you mean 'MASTER_NODE'?",)
    transport, keeper, store = loaded.transport(), loaded.role("keeper"), loaded.store("q", "f")  # type: ignore[arg-type]
    assert isinstance(transport, Wire)
    assert transport.settings is loaded.conf.sections["wire"]
    assert isinstance(keeper, Keeper)
    assert store.asked == (None, "q", "f")
    assert isinstance(loaded.scheduler(), Fifo)


def test_only_what_is_asked_for_is_imported(tmp_path: Path, imported: list[str]) -> None:
    loaded = need_conf(conf_of(tmp_path, SCHEDULER="absent"), ("transport",))
    assert imported == ["transport"]
    with pytest.raises(OurBug, match="without its scheduler"):
        loaded.scheduler()


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    path = conf_of(
        tmp_path,
        MASTER_PORT="abc",
        ENCRYPTION_KEY="short",
        SCHEDULER="lest",
        SHARED_MEM="sharedmem",
        wire={"secure": False},
    )
    with pytest.raises(BadConf) as caught:
        open_conf(path, ALL_KINDS)
    said = caught.value.fields["problems"]
    assert set(said[:3]) == {
        "expected a port (1 to 65535), got 'abc' @ MASTER_PORT",
        "expected 32 ASCII characters, got 5 characters @ ENCRYPTION_KEY",
        "expected to be secure @ wire.secure",
    }
    assert [each.rpartition(" @ ")[2] for each in said[3:]] == ["SCHEDULER", "SHARED_MEM"]
    assert str(caught.value).startswith(f"{path} cannot be used, 5 mistakes:\n  ")


def test_a_missing_plugin_alone_is_its_own_error(tmp_path: Path) -> None:
    path = conf_of(tmp_path, SCHEDULER="leastload")
    with pytest.raises(PluginMissing) as caught:
        open_conf(path, ("scheduler",))
    assert "pip install discomputify-sched-leastload" in str(caught.value)
    assert f"change SCHEDULER in {path}" in str(caught.value)
    with pytest.raises(PluginMissing, match="pip install discomputify-sharedmem"):
        open_conf(conf_of(tmp_path, SHARED_MEM="sharedmem"))
    with pytest.raises(PluginMissing, match="engine 'dask'"):
        open_conf(conf_of(tmp_path, ENGINE="dask"))


def test_looking_at_a_conf_where_only_the_master_has_the_scheduler(tmp_path: Path) -> None:
    loaded = need_conf(conf_of(tmp_path, SCHEDULER="leastload"), ALL_KINDS, thorough=True)
    assert "the master needs it" in loaded.warnings[0]
    with pytest.raises(PluginMissing, match=r"Did you mean 'fifo'\?"):
        need_conf(conf_of(tmp_path, SCHEDULER="fifi"), ALL_KINDS, thorough=True)


def test_looking_at_a_conf_also_checks_what_is_not_selected(tmp_path: Path) -> None:
    path = conf_of(tmp_path, broken={"secur": 1})
    assert need_conf(path, ALL_KINDS).conf.sections["broken"] == {"secur": 1}
    with pytest.raises(BadConf, match="did you mean 'secure'"):
        need_conf(path, ALL_KINDS, thorough=True)


def test_a_plugin_that_fails_to_check_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginBroke, match=r"'broken'.*out of order"):
        open_conf(conf_of(tmp_path, TRANSPORT="broken"), ("transport",))


def test_two_classes_for_one_section_are_told(tmp_path: Path) -> None:
    with pytest.raises(PluginBroke, match="another class than"):
        open_conf(conf_of(tmp_path), ("transport",), ("stranger",))


def test_names_that_lead_to_loopback_are_mistakes_for_who_dials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"alpha": ("10.0.0.1",), "beta": ("127.0.1.1",)}
    monkeypatch.setattr(names, "resolve", lambda host, timeout=0.0: known.get(host, (host,)))
    path = conf_of(tmp_path, MASTER_NODE="alpha", FTP_NODE="beta")
    with pytest.raises(BadConf, match=r"'beta' leads to 127\.0\.1\.1 .*@ FTP_NODE"):
        open_conf(path, ("transport",))
    assert open_conf(path, ("scheduler",)) is not None


def test_a_conf_made_in_memory_is_checked_as_well() -> None:
    loaded = equip(Conf(transport=Name("wire"), encryption_key=KEY), ("transport",))  # type: ignore[arg-type]
    assert isinstance(loaded.transport(), Wire)
    with pytest.raises(BadConf, match="expected a key @ ENCRYPTION_KEY"):
        equip(Conf(transport=Name("wire")), ("transport",))
