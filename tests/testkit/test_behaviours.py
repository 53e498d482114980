"""The pages of docs/behaviour and the suites say the same, and no plugin goes without its suite."""

from __future__ import annotations

import ast
import importlib
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from discomputify_testkit.memory import MemoryConformance
from discomputify_testkit.scheduler import SchedulerConformance
from discomputify_testkit.store import StoreConformance
from discomputify_testkit.transport import TransportConformance

ROOT = Path(__file__).parents[2]
SUITES = {
    "transport": ("t", TransportConformance),
    "store": ("f", StoreConformance),
    "scheduler": ("s", SchedulerConformance),
    "memory": ("m", MemoryConformance),
}
HOOKS = {
    "discomputify_register_transports": TransportConformance,
    "discomputify_register_stores": StoreConformance,
    "discomputify_register_schedulers": SchedulerConformance,
    "discomputify_register_memories": MemoryConformance,
}


@pytest.mark.parametrize("page", SUITES)
def test_every_numbered_behaviour_has_a_test_and_the_reverse(page: str) -> None:
    letter, suite = SUITES[page]
    text = (ROOT / "docs" / "behaviour" / f"{page}.md").read_text(encoding="utf-8")
    listed = re.findall(rf"^- \*\*{letter.upper()}-(\d+)\*\* ", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    tests = {name: re.match(rf"test_{letter}_(\d\d)_", name) for name in dir(suite) if name.startswith("test")}
    assert [name for name, match in tests.items() if not match] == []
    numbers = [int(match[1]) for match in tests.values() if match]
    assert len(numbers) == len(set(numbers))
    assert set(numbers) == {int(number) for number in listed}
    for name, match in tests.items():
        said = (getattr(suite, name).__doc__ or "").strip()
        assert match is None or said.startswith(f"{letter.upper()}-{int(match[1])}."), name


@pytest.mark.parametrize("page", SUITES)
def test_the_capabilities_that_a_page_names_are_those_that_the_suite_asks_for(page: str) -> None:
    letter, _ = SUITES[page]
    text = (ROOT / "docs" / "behaviour" / f"{page}.md").read_text(encoding="utf-8")
    folder = ROOT / "discomputify_testkit" / "src" / "discomputify_testkit" / page
    code = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    asked = {}
    for test in re.split(r"\n    (?=def |async def )", code):
        if match := re.match(rf"(?:async )?def test_{letter}_(\d\d)_", test):
            asked[int(match[1])] = set(re.findall(r'"(\w+)"', (re.search(r"self\.need\((.*)\)", test) or [""])[0]))
    named = {
        int(number): set(re.findall(r"`(\w+)`", brackets or ""))
        for number, brackets in re.findall(rf"^- \*\*{letter.upper()}-(\d+)\*\* (\(`[^)]*\))?", text, re.MULTILINE)
    }
    assert asked == named


def plugins() -> list[tuple[str, type]]:
    """Every transport, store, policy and shared memory that is registered: its class, and its suite."""
    modules = [importlib.import_module("discomputify_core.plugins.builtin")]
    modules += [entry.load() for entry in entry_points(group="discomputify") if entry.value.startswith("discomputify_")]
    return [
        (target, suite)
        for module in modules
        for hook, suite in HOOKS.items()
        for target in getattr(module, hook, dict)().values()
    ]


def subclasses(suite: type) -> list[str]:
    """The source of every test file with a subclass of *suite*."""
    return [
        text
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if suite.__name__ in (text := path.read_text(encoding="utf-8")) and _has_subclass(text, suite.__name__)
    ]


def _has_subclass(text: str, suite: str) -> bool:
    classes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    return any(
        each.name.startswith("Test") and any(isinstance(base, ast.Name) and base.id == suite for base in each.bases)
        for each in classes
    )


def test_no_plugin_goes_without_its_suite() -> None:
    found = plugins()
    assert len(found) >= 3
    without = [
        target
        for target, suite in found
        if not any(re.search(rf"\b{target.partition(':')[2]}\b", text) for text in subclasses(suite))
    ]
    assert without == []
