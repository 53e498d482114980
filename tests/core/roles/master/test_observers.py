"""Plugins that watch: off the loop, and without power over it."""

import threading
import types
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from discomputify_core.hookspecs import hookimpl
from discomputify_core.model.events import Event, Tick
from discomputify_core.plugins.manager import Plugins
from discomputify_core.roles.master import observers as module
from discomputify_core.roles.master.observers import Observers, observe_with


def test_batches_arrive_in_order_in_another_thread() -> None:
    seen: list[tuple[float, str]] = []

    def observe(batch: Sequence[Event]) -> None:
        seen.extend((event.wall, threading.current_thread().name) for event in batch if isinstance(event, Tick))

    observers = Observers(observe)
    observers.start()
    for number in range(100):
        observers.put([Tick(number)])
    observers.close()
    assert [wall for wall, _ in seen] == list(range(100))
    assert {thread for _, thread in seen} == {"observers"}


def test_a_raising_observer_is_logged_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []

    def observe(batch: Sequence[Event]) -> None:
        seen.append(len(batch))
        raise ZeroDivisionError("an observer's own fault")

    observers = Observers(observe)
    observers.start()
    observers.put([Tick()])
    observers.put([Tick(), Tick()])
    observers.close()
    assert seen == [1, 2]
    assert "an observer's own fault" in caplog.text


def test_a_slow_observer_misses_batches_which_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    go_on = threading.Event()

    def observe(batch: Sequence[Event]) -> None:
        go_on.wait(20)

    observers = Observers(observe)
    observers.start()
    for _ in range(10):
        observers.put([Tick()])
    assert observers.missed >= 6
    assert "too slow" in caplog.text
    go_on.set()
    observers.close()


def test_observers_that_were_never_started_can_be_closed() -> None:
    Observers(lambda batch: None).close()


def watcher(name: str, watch: Callable[[Sequence[Event]], None]) -> Any:
    """An entry point of a plugin that only watches."""

    def discomputify_on_events(batch: Sequence[Event]) -> None:
        watch(batch)

    hooks = types.ModuleType(f"hooks_of_{name}")
    hooks.__dict__["discomputify_on_events"] = hookimpl(discomputify_on_events)
    return types.SimpleNamespace(name=name, load=lambda: hooks, dist=None)


def test_a_raising_plugin_is_named_and_hides_nothing_from_others(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def fail(batch: Sequence[Event]) -> None:
        raise ZeroDivisionError("its own fault")

    found = [
        watcher("first", lambda batch: seen.append(f"first {len(batch)}")),
        watcher("culprit", fail),
        watcher("last", lambda batch: seen.append(f"last {len(batch)}")),
    ]
    observe = observe_with(Plugins.load(found))
    assert observe is not None
    observe([Tick(), Tick()])
    assert seen == ["last 2", "first 2"]
    assert "culprit" in caplog.text


def test_without_a_plugin_that_watches_nothing_is_called() -> None:
    assert observe_with(Plugins.load([])) is None
