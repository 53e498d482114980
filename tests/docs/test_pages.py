"""What the documents say of the code's shape is so: life cycles, layers, hooks, methods, messages, links."""

from __future__ import annotations

import configparser
import inspect
import re
from pathlib import Path

import pytest

from discomputify_core import hookspecs
from discomputify_core.client import BlockingClient
from discomputify_core.cluster.lifecycle import PART, PART_ENDED, Cause
from discomputify_core.edge.clock import token
from discomputify_core.errors import ProgramError
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobSpec, PartState
from discomputify_core.plugins.kinds import KINDS
from discomputify_core.program import __all__ as program_names
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.environment import environment
from discomputify_core.roles.node.workspace import Workspace
from discomputify_core.roles.runner.tree import ATTEMPT_MARK, RUNNER_MARK

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("**/*.md"), *ROOT.glob("discomputify_*/README.md")])


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# --- ARCHITECTURE.md --------------------------------------------------------------------------------


def test_the_life_of_a_part_is_that_of_the_tables() -> None:
    """The rows of the table in ARCHITECTURE.md are the transitions of cluster/lifecycle.py, no more and no less."""
    order = list(Cause)
    transitions = sorted(PART.items(), key=lambda item: (item[0][0], order.index(item[0][1])))
    expected = [f"| {state.name} | {cause.value} | {then.name} |" for (state, cause), then in transitions]
    lines = text_of(ROOT / "ARCHITECTURE.md").splitlines()
    states = "|".join(state.name for state in PartState)
    found = [line for line in lines if re.fullmatch(rf"\| ({states}) \| [a-z ]+ \| ({states}) \|", line)]
    assert found == expected
    assert {(state, cause) for state, cause in PART if state in PART_ENDED} == {
        (PartState.DONE, Cause.GAVE_UP),
        (PartState.DONE, Cause.STARTED_OVER),
        *((state, Cause.RESUBMITTED) for state in PART_ENDED),
    }


def test_the_layers_are_those_that_are_checked() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    layers = contracts["importlinter:contract:core"]["layers"].split("\n")
    assert " > ".join(layer.strip() for layer in layers if layer.strip()) in text_of(ROOT / "ARCHITECTURE.md")


def test_the_seven_files_to_read_exist() -> None:
    reading = text_of(ROOT / "ARCHITECTURE.md").partition("\n## Seven files")[2].partition("\n## ")[0]
    files = re.findall(r"^\d\. \[`([^`]+)`\]\(([^)]+)\)", reading, re.MULTILINE)
    assert len(files) == 7
    for name, link in files:
        assert link.endswith(name)
        assert (ROOT / link).is_file()


# --- plugins.md -------------------------------------------------------------------------------------

HOOKS = {
    name: list(inspect.signature(hook).parameters)
    for name, hook in vars(hookspecs).items()
    if name.startswith(f"{hookspecs.PROJECT}_")
}


def test_every_hook_is_described_with_its_arguments() -> None:
    headings = re.findall(r"^### (discomputify_\w+)\((.*)\)$", text_of(DOCS / "plugins.md"), re.MULTILINE)
    assert {name: [each for each in arguments.split(", ") if each] for name, arguments in headings} == HOOKS


def test_every_kind_that_a_hook_brings_is_in_the_table() -> None:
    page = text_of(DOCS / "plugins.md")
    for kind in KINDS.values():
        if kind.hook:
            (row,) = re.findall(rf"^\| {kind.label} \| .*$", page, re.MULTILINE)
            assert f"`{kind.interface.replace(':', '.')}`" in row
            assert not kind.key or f"`{kind.key}`" in row


# --- programs.md, client.md -------------------------------------------------------------------------


def test_the_program_api_is_described() -> None:
    page = text_of(DOCS / "programs.md")
    base = ProgramError.__name__
    missing = [name for name in program_names if name != base and not re.search(rf"`(program\.)?{name}[`(]", page)]
    assert not missing


def test_the_environment_of_a_part_is_described(tmp_path: Path) -> None:
    spec = JobSpec(ProcessId("p"), token(), 1, "blake3:" + "0" * 64)
    workspace = Workspace(tmp_path, spec, BlobCache(tmp_path, 1), link=False)
    agent = {"DISCOMPUTIFY_AGENT": "", "DISCOMPUTIFY_TOKEN": ""}
    env = environment(spec, 1, 1, workspace, base={}, agent=agent, indices={"gpu": [0]})
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \|", text_of(DOCS / "programs.md"), re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert described == {*env, ATTEMPT_MARK, RUNNER_MARK}


def test_the_clients_methods_are_described() -> None:
    page = text_of(DOCS / "client.md")
    methods = [name for name, value in vars(BlockingClient).items() if callable(value) and not name.startswith("_")]
    assert len(methods) > 10
    assert not [name for name in methods if f"`{name}(" not in page]


# --- troubleshooting.md -----------------------------------------------------------------------------


def test_messages_that_are_explained_exist() -> None:
    """Each piece of a message (between "…") stands in the sources, where messages may be broken into several lines."""
    sources = "\n".join(text_of(path) for path in ROOT.glob("discomputify_*/src/**/*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", sources)
    pieces = [
        piece.strip()
        for message in re.findall(r"^\| `([^`]+)` \|", text_of(DOCS / "troubleshooting.md"), re.MULTILINE)
        for piece in message.split("…")
        if piece.strip()
    ]
    assert len(pieces) > 10
    assert not [piece for piece in pieces if piece not in joined]


# --- all --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_links_lead_somewhere(path: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", text_of(path), flags=re.MULTILINE | re.DOTALL)
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        file, _, anchor = link.partition("#")
        target = (path.parent / file) if file else path
        if "://" in link:
            continue
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            lost.append(link)
    assert not lost


def _anchors(path: Path) -> set[str]:
    """The anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.+)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index() -> None:
    index = text_of(DOCS / "index.md")
    pages = [path.relative_to(DOCS).as_posix() for path in sorted(DOCS.glob("**/*.md"))]
    assert not [page for page in pages if page != "index.md" and f"({page})" not in index]
