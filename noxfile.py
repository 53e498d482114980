"""Every check of this repository, as nox sessions. `nox` runs the default ones; `nox -l` lists all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
#: In the order in which they can be installed: each may depend on those before it.
DISTRIBUTIONS = [
    "discomputify_core",
    "discomputify_ftp",
    "discomputify_sharedmem",
    "discomputify_tcp",
    "discomputify_redis",
    "discomputify_sched_roundrobin",
    "discomputify_sched_leastload",
    "discomputify_legacy",
    "discomputify_testkit",
]
BENCHMARKS = ["latency", "parts_and_staging", "recovery", "shared_memory"]
EXAMPLES = ["heat", "kmeans", "mandelbrot", "mapreduce", "stdlib_census"]

nox.needs_version = ">=2025.10.14"
nox.options.sessions = ["lint", "types", "imports", "tests"]
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
# Where CI is set every version must be there; elsewhere a missing one is skipped with a note.
nox.options.error_on_missing_interpreters = "CI" in os.environ


def find_pyenv_versions() -> None:
    """Let nox find the interpreters that pyenv has installed but not activated."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders = [str(folder) for version in PYTHONS for folder in sorted(root.glob(f"versions/{version}.*/bin"))]
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), *folders])


find_pyenv_versions()


def install(session: nox.Session, *more: str) -> None:
    """Install every distribution of this repository, editable, and *more* requirements."""
    editable = [word for name in DISTRIBUTIONS for word in ("-e", str(ROOT / name))]
    session.install(*editable, *more)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the test suite: all of it, or what `-- ARGS` selects."""
    install(session, "-r", "tests/requirements.txt")
    # Most tests wait for processes, so a few more run at once than there are CPUs; those of one module share clusters.
    workers = str(max(3, os.cpu_count() or 1))
    session.run("python", "-m", "pytest", "-n", workers, "--dist", "loadfile", "-m", "not long", *session.posargs)


@nox.session
def long(session: nox.Session) -> None:
    """Run the tests that take minutes."""
    install(session, "-r", "tests/requirements.txt")
    command = ["python", "-m", "pytest", "-m", "long", "--timeout", "1800", "-s"]  # -s: they print their counts
    session.run(*command, *session.posargs, success_codes=[0, 5])  # 5: no test is marked long


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff."""
    session.install("ruff~=0.17.6")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy, strictly, for the oldest Python that is supported."""
    install(session, "-r", "tests/requirements.txt", "mypy~=2.4.1", "types-psutil", "nox")
    session.run("mypy", *(str(Path(name) / "src") for name in DISTRIBUTIONS))
    # Test modules of one name live in several folders, so each is known by its path from here.
    session.run("mypy", "--namespace-packages", "--explicit-package-bases", "tests", "noxfile.py")
    # The scripts of a folder import each other as top-level modules.
    for folder in ["benchmarks", *(f"examples/{name}" for name in EXAMPLES)]:
        session.run("mypy", folder)


@nox.session
def imports(session: nox.Session) -> None:
    """Check the architecture: who may import whom (.importlinter)."""
    install(session, "import-linter~=2.16")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Run every command and snippet in the documents that is marked to run."""
    install(session, "-r", "tests/requirements.txt")
    session.run("python", "-m", "pytest", "tests/docs", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheels of all distributions into dist/."""
    session.install("build")
    for name in DISTRIBUTIONS:
        session.run("python", "-m", "build", "--wheel", "--outdir", "dist", name)


@nox.session
@nox.parametrize("script", [nox.param(name, id=name) for name in BENCHMARKS])
def bench(session: nox.Session, script: str) -> None:
    """Measure and print tables: see benchmarks/README.md."""
    install(session, "numpy")
    session.run("python", f"benchmarks/{script}.py", *session.posargs)


if __name__ == "__main__":
    sys.exit("Run this with nox: pip install nox, then nox.")
