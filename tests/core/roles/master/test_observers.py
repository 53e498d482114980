"""Plugins that watch: off the loop, and without power over it."""

import threading
from collections.abc import Sequence

import pytest

from discomputify_core.model.events import Event, Tick
from discomputify_core.roles.master import observers as module
from discomputify_core.roles.master.observers import Observers


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
