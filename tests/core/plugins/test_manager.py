"""Finding plugins: each is named when it is broken, and none hides another."""

from __future__ import annotations

import types
from typing import Any

import attrs
import pytest

from discomputify_core import __version__
from discomputify_core.errors import PluginBroke
from discomputify_core.hookspecs import hookimpl
from discomputify_core.model.conf import Conf, Name
from discomputify_core.plugins.manager import Listed, Plugins


@attrs.frozen
class Dist:
    name: str
    version: str = "1.2"


@attrs.frozen
class FakeEntryPoint:
    """An entry point that loads what it is given, or raises it."""

    name: str
    content: Any
    dist: Dist | None

    def load(self) -> object:
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


def entry_point(name: str, dist: str = "", **functions: Any) -> FakeEntryPoint:
    module = types.ModuleType(f"hooks_of_{name}")
    for hook, answer in functions.items():
        function = answer if callable(answer) else (lambda found: lambda: found)(answer)
        function.__name__ = hook
        setattr(module, hook, hookimpl(function))
    return FakeEntryPoint(name, module, Dist(dist or f"dist-{name}"))


def boom(*_: object) -> Any:
    raise RuntimeError("out of order")


def test_core_brings_a_policy_and_an_engine() -> None:
    plugins = Plugins.load([])
    assert (plugins.names("scheduler"), plugins.names("engine")) == (("fifo",), ("nodes",))
    assert plugins.names("transport") == ()


def test_installed_plugins_register_their_names() -> None:
    found = Plugins.load([entry_point("a", discomputify_register_schedulers={"mine": "pkg.module:Mine"})])
    registered = found.find("scheduler", "mine")
    assert registered is not None
    assert (registered.target, str(registered.origin)) == ("pkg.module:Mine", "dist-a 1.2")
    assert found.find("scheduler", "other") is None
    assert {"fifo", "mine", "a"} <= found.all_names()


def test_the_listing_says_what_is_installed_and_selected() -> None:
    found = Plugins.load(
        [
            entry_point("a", discomputify_register_schedulers={"mine": "m:Mine"}),
            entry_point("b", discomputify_on_events=lambda batch: None),
        ]
    )
    assert found.listing(Conf(scheduler=Name("mine"))) == (
        Listed("scheduler", "fifo", "discomputify-core", __version__, False),
        Listed("scheduler", "mine", "dist-a", "1.2", True),
        Listed("engine", "nodes", "discomputify-core", __version__, True),
        Listed("observer", "b", "dist-b", "1.2", True),
    )
    assert not any(row.selected for row in found.listing(None))


def test_notify_hooks_reach_the_plugins() -> None:
    seen: list[Any] = []
    found = Plugins.load([entry_point("b", discomputify_on_events=lambda batch: seen.append(batch))])
    found.hook.discomputify_on_events(batch=("event",))
    assert seen == [("event",)]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (FakeEntryPoint("bad", ImportError("no module named 'zzz'"), Dist("dist-bad")), "no module named 'zzz'"),
        (FakeEntryPoint("bad", 5, Dist("dist-bad")), "names no module but a int"),
        (entry_point("bad", discomputify_register_stores=boom), "raised in discomputify_register_stores: RuntimeError"),
        (entry_point("bad", discomputify_register_stores=5), "returned a int"),
        (entry_point("bad", discomputify_register_stores={"x": "no class"}), "not 'name': 'package.module:Class'"),
        (entry_point("bad", discomputify_register_wonders={"x": "m:C"}), "discomputify_register_wonders"),
        (entry_point("bad", discomputify_on_events=lambda wrong: None), "wrong"),
        (entry_point("bad", discomputify_register_roles={"master_node": "m:C"}), "a name of discomputify's own"),
        (entry_point("bad", discomputify_register_schedulers={"fifo": "m:C"}), "which discomputify-core"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_a_broken_plugin_is_named(broken: FakeEntryPoint, said: str) -> None:
    good = entry_point("good", discomputify_register_schedulers={"mine": "m:Mine"})
    with pytest.raises(PluginBroke) as caught:
        Plugins.load([good, broken])
    assert "'bad' of dist-bad 1.2" in str(caught.value)
    assert said in str(caught.value)
    assert caught.value.fields == {"plugin": "bad", "distribution": "dist-bad", "version": "1.2"}

    found = Plugins.load([broken, good], tolerant=True)
    assert [said in str(error) for error in found.broken] == [True]
    assert found.names("scheduler") == ("fifo", "mine")
    assert "dist-bad" not in {row.distribution for row in found.listing(Conf())}


def test_two_plugins_of_one_name_are_both_named() -> None:
    first = entry_point("a", discomputify_register_stores={"s3": "m:A"})
    second = entry_point("b", discomputify_register_stores={"s3": "m:B"})
    with pytest.raises(PluginBroke, match=r"dist-b 1\.2 registers the store 's3', which dist-a 1\.2 registers too"):
        Plugins.load([first, second])


def test_two_distributions_may_use_one_name_of_entry_point() -> None:
    first = entry_point("hooks", "one", discomputify_register_stores={"s1": "m:A"})
    second = entry_point("hooks", "two", discomputify_register_stores={"s2": "m:B"})
    assert Plugins.load([first, second]).names("store") == ("s1", "s2")


def test_a_distribution_that_is_there_twice_is_told() -> None:
    again = entry_point("a", discomputify_register_stores={"s": "m:A"})
    with pytest.raises(PluginBroke, match="installed twice"):
        Plugins.load([again, again])


def test_commands_are_asked_for_only_where_they_are_wanted() -> None:
    broken = entry_point("c", discomputify_register_commands=boom)
    assert Plugins.load([broken]).names("command") == ()
    with pytest.raises(PluginBroke, match="discomputify_register_commands"):
        Plugins.load([broken], with_commands=True)


def test_versions_are_those_of_what_the_conf_uses() -> None:
    first = entry_point("a", discomputify_register_schedulers={"one": "a.b:C"})
    second = entry_point("b", discomputify_register_schedulers={"two": "a.b:D"})
    plugins = Plugins.load([first, second])
    assert plugins.versions(Conf(scheduler=Name("two"))) == {"dist-b": "1.2", "discomputify-core": __version__}
