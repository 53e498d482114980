"""What must hold for the repository as a whole: distributions complete and in step, nothing private in the files."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import discomputify_core

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTIONS = sorted(path.parent.name for path in ROOT.glob("discomputify_*/pyproject.toml"))
MODULES = sorted(path for name in DISTRIBUTIONS for path in (ROOT / name / "src").rglob("*.py"))
#: Distribution -> import name, where they differ.
IMPORT_NAMES = {"discomputify_legacy": "DISCOMPUTIFY"}
#: Import name -> name on the package index, where they differ.
INDEX_NAMES = {"attr": "attrs", "noise": "noiseprotocol"}
TEST_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox"
LONGEST_MODULE = 450


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def pyproject(name: str) -> str:
    return (ROOT / name / "pyproject.toml").read_text(encoding="utf-8")


def value(name: str, key: str) -> str:
    """The text value of a key of a pyproject.toml (Python 3.10 has no TOML reader)."""
    found = re.search(rf'^{key} = "([^"]*)"', pyproject(name), flags=re.MULTILINE)
    assert found, f"{name}/pyproject.toml has no {key}"
    return found[1]


def import_name(name: str) -> str:
    """What code imports of a distribution."""
    return IMPORT_NAMES.get(name, name)


def dependencies(name: str) -> list[str]:
    """What a distribution needs, and what it uses if it is there (its extras)."""
    found = re.search(r"^dependencies = \[(.*?)^\]", pyproject(name), flags=re.MULTILINE | re.DOTALL)
    assert found, f"{name}/pyproject.toml names no dependencies"
    extras = re.search(r"^\[project.optional-dependencies\]\n(.*?)^\[", pyproject(name), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r'"([^"]+)"', found[1] + (extras[1] if extras else ""))


def bare(requirement: str) -> str:
    """The name in a requirement such as ``attrs>=23.2``."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


def imported(path: Path) -> set[str]:
    """Top-level names that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def tracked() -> list[Path]:
    """The files that belong to the repository and hold text."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=30,
    )
    if listing.returncode:
        pytest.skip("this is no git repository, so its files cannot be told from others")
    paths = (ROOT / name for name in listing.stdout.decode().split("\0") if name)
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


def test_there_are_distributions() -> None:
    assert "discomputify_core" in DISTRIBUTIONS
    assert MODULES


def test_versions_are_in_step() -> None:
    versions = {name: value(name, "version") for name in DISTRIBUTIONS}
    assert len(set(versions.values())) == 1, versions
    for name, version in versions.items():
        assert importlib.import_module(import_name(name)).__version__ == version
        assert metadata.version(name) == version, f"{name}: install it again, its metadata is of another version"
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{versions['discomputify_core']}]" in changelog


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_is_complete(name: str) -> None:
    folder = ROOT / name
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (folder / "src" / import_name(name) / "py.typed").is_file()
    assert [each.name for each in (folder / "src").iterdir()] == [import_name(name)]
    assert f'packages = ["src/{import_name(name)}"]' in pyproject(name)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert value(name, "name") in readme
    assert value(name, "name") == name.replace("_", "-")
    assert value(name, "license") == "Apache-2.0"
    assert value(name, "requires-python") == ">=3.10"


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_dependencies_are_declared_where_they_are_imported(name: str) -> None:
    ours = {path for path in MODULES if path.is_relative_to(ROOT / name)}
    used = set[str]().union(*map(imported, ours)) - set(sys.stdlib_module_names) - {import_name(name)}
    needed = {INDEX_NAMES.get(module, module).replace("_", "-") for module in used}
    declared = {bare(requirement) for requirement in dependencies(name)}
    assert needed <= declared, f"imported but not in {name}/pyproject.toml: {sorted(needed - declared)}"
    # A distribution may need another one at run time (as a plugin) without importing it.
    unused = {other for other in declared - needed if not other.startswith("discomputify-")}
    assert not unused, f"in {name}/pyproject.toml but never imported: {sorted(unused)}"


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions_ask_for_each_other_at_the_same_version(name: str) -> None:
    ours = [requirement for requirement in dependencies(name) if bare(requirement).startswith("discomputify-")]
    assert all(requirement.endswith(f"=={value(name, 'version')}") for requirement in ours), ours


def test_no_file_names_a_place_of_one_machine() -> None:
    # Spelled in two pieces, so that this file is not found itself.
    machine = re.compile("/(?:" + "wo" + "rk|ro" + "ot)/")
    guilty = [relative(path) for path in tracked() if machine.search(path.read_text(encoding="utf-8"))]
    assert not guilty


def test_no_conf_is_in_the_repository() -> None:
    assert not [relative(path) for path in tracked() if path.name == "discomputify_conf.json"]


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        relative(path)
        for path in MODULES
        if path.read_bytes().strip() and not ast.get_docstring(ast.parse(path.read_bytes()))
    ]
    assert not silent


def test_no_module_is_too_long() -> None:
    lengths = {relative(path): path.read_bytes().count(b"\n") for path in MODULES}
    too_long = {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE}
    assert not too_long, f"longer than {LONGEST_MODULE} lines, split them: {too_long}"


@pytest.mark.parametrize("document", [".ci/run", "README.md", "CONTRIBUTING.md"])
def test_the_test_command_is_the_same_everywhere(document: str) -> None:
    assert TEST_COMMAND in (ROOT / document).read_text(encoding="utf-8")


def test_nox_knows_every_distribution() -> None:
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    contracts = (ROOT / ".importlinter").read_text(encoding="utf-8")
    mypy = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name in DISTRIBUTIONS:
        assert f'"{name}"' in noxfile
        assert f"    {import_name(name)}\n" in contracts
        assert f"{name}/src" in mypy


def test_type_checkers_see_what_core_offers() -> None:
    stub = ast.parse((ROOT / "discomputify_core/src/discomputify_core/__init__.pyi").read_text(encoding="utf-8"))
    names = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names | {"__version__"} == set(discomputify_core.__all__)
    assert all(hasattr(discomputify_core, name) for name in discomputify_core.__all__)
