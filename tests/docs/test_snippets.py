"""Every snippet of the documents that is marked to run works as it stands there.

A marker is an HTML comment in the line before a fenced block (blank lines between are fine)::

    <!-- run -->              run the block: bash, sh or python; the exit code must be 0
    <!-- run exit=2 -->       … must be 2
    <!-- file main.py -->     write the block to this file (any language; for later blocks)

Blocks of one document run in order, in one folder that also holds a copy of examples/.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil
import pytest

from discomputify_testkit.running import run as waiting
from discomputify_testkit.running import until

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("discomputify_*/README.md"),
        *ROOT.glob("examples/*/*.md"),
    ]
)
MARKER = re.compile(r"^<!--\s*(?P<verb>run|file)\b(?P<rest>.*?)-->\s*$")
FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>\w*)\s*$")
#: Seconds that one block may take.
DEADLINE = 100.0


class WrongMarker(Exception):
    """A marker that cannot be followed; the text names document and line."""


@dataclass(frozen=True)
class Snippet:
    """One marked block."""

    where: str
    language: str
    text: str
    #: Write the text to this file instead of running it.
    file: str = ""
    exit_code: int = 0


def find(name: str, document: str) -> list[Snippet]:
    """The marked blocks of *document*, in order. *name* is used in messages.

    Raises:
        WrongMarker: a marker has no block after it or an option that does not exist.
    """
    snippets: list[Snippet] = []
    lines = enumerate(document.splitlines(), start=1)
    for number, line in lines:
        if marker := MARKER.match(line):
            where = f"{name}:{number}"
            start = next((text for _, text in lines if text.strip()), "")
            if not (fence := FENCE.match(start)):
                raise WrongMarker(f"{where}: the marker is not followed by a fenced block")
            body: list[str] = []
            for _, text in lines:
                if text.rstrip() == fence["fence"]:
                    break
                body.append(text)
            snippets.append(_snippet(where, marker, fence["language"], "\n".join(body) + "\n"))
        elif fence := FENCE.match(line):  # a block that is not marked: what looks like a marker in it is none
            for _, text in lines:
                if text.rstrip() == fence["fence"]:
                    break
    return snippets


def _snippet(where: str, marker: re.Match[str], language: str, text: str) -> Snippet:
    rest = marker["rest"].strip()
    if marker["verb"] == "file":
        if not rest or Path(rest).is_absolute() or ".." in Path(rest).parts:
            raise WrongMarker(f"{where}: 'file' needs a relative path, not {rest!r}")
        return Snippet(where, language, text, file=rest)
    if language not in ("bash", "sh", "python"):
        raise WrongMarker(f"{where}: blocks of {language!r} cannot be run, only bash, sh and python")
    if rest and not re.fullmatch(r"exit=\d+", rest):
        raise WrongMarker(f"{where}: 'run' knows the option exit=N, not {rest!r}")
    return Snippet(where, language, text, exit_code=int(rest[5:] or 0) if rest else 0)


def run(snippet: Snippet, folder: Path, environment: dict[str, str]) -> None:
    """Run *snippet* in *folder*; processes that it leaves behind are ended.

    Raises:
        AssertionError: it ended with another exit code; the message holds its output.
        TimeoutError: it took longer than DEADLINE.
    """
    if snippet.file:
        target = folder / snippet.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(snippet.text, encoding="utf-8")
        return
    command = [sys.executable, "-"] if snippet.language == "python" else ["bash", "-euo", "pipefail", "-s"]
    # A file, not a pipe: a process that outlives the block must not keep us reading.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=os.name == "posix",
        )
        try:
            process.communicate(snippet.text.encode(), timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{snippet.where} took more than {DEADLINE:.0f} s:\n{_said(output)}") from None
        finally:
            _end(process)
        if process.returncode != snippet.exit_code:
            raise AssertionError(
                f"{snippet.where} ended with {process.returncode} instead of {snippet.exit_code}:\n"
                f"{snippet.text}\n--- it said ---\n{_said(output)}"
            )


def _said(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the block's process and, on POSIX, everything in its session's group."""
    if os.name == "posix":
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    else:
        process.kill()
    process.wait()


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


MARKED = [path for path in DOCUMENTS if any(map(MARKER.match, path.read_text(encoding="utf-8").splitlines()))]


@pytest.mark.skipif(shutil.which("bash") is None, reason="the snippets are for bash")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", MARKED, ids=named)
def test_marked_snippets_run(document: Path, tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("INPUT_PATH", "__pycache__")
    )
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        # No conf of the machine's user is to be found: a snippet sees only what the document made.
        "HOME": str(tmp_path / "home"),
        "XDG_CONFIG_HOME": str(tmp_path / "home" / "config"),
    }
    for snippet in find(named(document), document.read_text(encoding="utf-8")):
        run(snippet, tmp_path, environment)


def test_only_marked_blocks_are_found() -> None:
    document = """
```bash
exit 1
<!-- run -->
```
<!-- run exit=3 -->

```bash
exit 3
```
<!-- file src/a.py -->
````python
print("```")
````
"""
    first, second = find("d.md", document)
    assert (first.where, first.text, first.exit_code) == ("d.md:6", "exit 3\n", 3)
    assert (second.file, second.text) == ("src/a.py", 'print("```")\n')


@pytest.mark.parametrize(
    "document",
    [
        "<!-- run -->\ntext",
        "<!-- run exit=x -->\n```bash\n```",
        "<!-- file ../a -->\n```\n```",
        "<!-- run -->\n```c\n```",
    ],
)
def test_a_wrong_marker_is_an_error(document: str) -> None:
    with pytest.raises(WrongMarker, match=r"^d\.md:1: "):
        find("d.md", document)


@pytest.mark.skipif(shutil.which("bash") is None, reason="the snippets are for bash")
def test_a_failing_snippet_shows_what_it_said(tmp_path: Path) -> None:
    (snippet,) = find("d.md", "<!-- run -->\n```bash\necho oh dear; false\n```")
    with pytest.raises(AssertionError, match=r"(?s)d\.md:1 ended with 1.*oh dear"):
        run(snippet, tmp_path, {})


@pytest.mark.skipif(shutil.which("bash") is None, reason="the snippets are for bash")
def test_blocks_share_a_folder_and_leave_no_process(tmp_path: Path) -> None:
    document = "<!-- file a.txt -->\n```\n5\n```\n<!-- run -->\n```bash\nsleep 1000 & cat a.txt\necho $! > pid\n```"
    for snippet in find("d.md", document):
        run(snippet, tmp_path, {})
    sleeper = int((tmp_path / "pid").read_text(encoding="utf-8"))
    waiting(until(lambda: not _runs(sleeper)))


def _runs(pid: int) -> bool:
    """Whether the process still runs; one that was killed and waits for its parent to notice does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
