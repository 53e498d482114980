"""From a name to a class: what is missing is told with the way to get it, what is broken with its culprit."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import attrs
import click
import pytest

from discomputify_core.errors import PluginBroke, PluginMissing
from discomputify_core.hookspecs import hookimpl
from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model.view import Decision
from discomputify_core.plugins.kinds import distribution_of
from discomputify_core.plugins.manager import Plugins
from discomputify_core.plugins.selection import command, require, select


class Mine(Scheduler):
    name = "mine"

    def place(self, ready: Any, view: Any) -> Decision:
        return Decision()


class Half(Scheduler):
    name = "half"


class Misnamed(Mine):
    name = "another"


@attrs.frozen
class Dist:
    name: str = "dist-x"
    version: str = "3"


@attrs.frozen
class FakeEntryPoint:
    content: Any
    name: str = "x"
    dist: Dist = Dist()

    def load(self) -> object:
        return self.content


@pytest.fixture
def plugins() -> Iterator[Plugins]:
    module = types.ModuleType("brought_by_x")
    vars(module).update(Mine=Mine, Half=Half, Misnamed=Misnamed, other=5, hello=click.Command("hello"))
    sys.modules["brought_by_x"] = module
    hooks = types.ModuleType("hooks_of_x")

    def schedulers() -> dict[str, str]:
        names = {"mine": "Mine", "half": "Half", "misnamed": "Misnamed", "nothing": "Nothing", "other": "other"}
        return {name: f"brought_by_x:{attribute}" for name, attribute in names.items()} | {"gone": "not_there_x:Gone"}

    def commands() -> dict[str, str]:
        return {"hello": "brought_by_x:hello", "other": "brought_by_x:other"}

    for hook, function in (
        ("discomputify_register_schedulers", schedulers),
        ("discomputify_register_commands", commands),
    ):
        function.__name__ = hook
        setattr(hooks, hook, hookimpl(function))
    yield Plugins.load([FakeEntryPoint(hooks)], with_commands=True)
    del sys.modules["brought_by_x"]


def test_the_class_of_a_name(plugins: Plugins) -> None:
    assert select(plugins, "scheduler", "mine") is Mine


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("half", "lacks what its interface asks for: place"),
        ("misnamed", "calls itself 'another'"),
        ("nothing", "cannot be imported: AttributeError"),
        ("gone", "cannot be imported: ModuleNotFoundError: No module named 'not_there_x'"),
        ("other", "is not a subclass of discomputify_core.interfaces.scheduler.Scheduler"),
    ],
)
def test_a_class_that_breaks_its_promise_names_its_distribution(plugins: Plugins, name: str, said: str) -> None:
    with pytest.raises(PluginBroke) as caught:
        select(plugins, "scheduler", name)
    assert said in str(caught.value)
    assert f"The scheduler {name!r} of dist-x 3" in str(caught.value)


def test_what_is_missing_is_told_with_what_is_installed_and_how_to_get_it(plugins: Plugins) -> None:
    with pytest.raises(PluginMissing) as caught:
        require(plugins, "scheduler", "roundrobin")
    assert str(caught.value) == (
        "The scheduler 'roundrobin' is not installed here "
        "(installed: fifo, gone, half, mine, misnamed, nothing, other). "
        "Install it with: pip install discomputify-sched-roundrobin"
    )
    assert caught.value.exit_code == 2
    with pytest.raises(PluginMissing, match=r"installed: none.*pip install discomputify-tcp"):
        select(plugins, "transport", "tcp")
    with pytest.raises(PluginMissing, match=r"shared memory 'sharedmem'.*pip install discomputify-sharedmem"):
        require(plugins, "shared_mem", "sharedmem")
    with pytest.raises(PluginMissing, match=r"Did you mean 'mine'\?"):
        require(plugins, "scheduler", "mien")


def test_the_distribution_of_an_unknown_name_is_guessed() -> None:
    assert distribution_of("leastload") == "discomputify-sched-leastload"
    assert distribution_of("My_Thing") == "discomputify-my-thing"


def test_commands(plugins: Plugins) -> None:
    assert command(plugins, "hello").name == "hello"
    assert command(plugins, "nope") is None
    with pytest.raises(PluginBroke, match=r"is not a click\.Command"):
        command(plugins, "other")
