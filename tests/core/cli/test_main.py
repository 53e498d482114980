"""The command itself: help, errors and exit codes, streams."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

import discomputify_core
from discomputify_core.cli import main as main_module
from discomputify_core.cli.main import COMMANDS
from discomputify_core.cli.main import cli as group
from discomputify_core.errors import BadInput, DiscomputifyError, JobFailed, Unreachable


def python(code: str, encoding: str = "utf-8", **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        encoding=encoding,
        timeout=60,
        check=False,
        **settings,
    )


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A command "try": raises or returns what is in the list."""
    chosen: list[Any] = []

    @click.command("try")
    def command() -> Any:
        (value,) = chosen
        if isinstance(value, BaseException):
            raise value
        return value() if callable(value) else value

    module = sys.modules[__name__]
    monkeypatch.setattr(module, "tried", command, raising=False)
    monkeypatch.setattr(group, "_table", {**COMMANDS, "try": (f"{__name__}:tried", "Try.")})
    monkeypatch.setitem(sys.modules, __name__, module)
    return chosen


def test_help_lists_every_command(cli: Any) -> None:
    answer = cli("--help")
    assert (answer.code, answer.err) == (0, "")
    for name, (_, text) in COMMANDS.items():
        assert name in answer.out
        assert text.split()[0] in answer.out
    assert "_DISCOMPUTIFY_COMPLETE=bash_source" in answer.out
    assert cli("-h").out == answer.out


def test_help_imports_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys\n"
        "from discomputify_core.cli.main import main\n"
        "main(['--help'])\n"
        "heavy = {'asyncio', 'rich', 'cattrs', 'psutil', 'cryptography', 'blake3', 'pathspec', 'msgpack',"
        " 'discomputify_core.model.conf', 'discomputify_core.client', 'discomputify_core.roles'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    answer = python(code)
    assert answer.stderr == "LOADED []\n"


def test_version(cli: Any) -> None:
    assert cli("--version").out.strip().endswith(discomputify_core.__version__)


def test_no_command_shows_the_help_and_is_wrong_usage(cli: Any) -> None:
    for args in ((), ("config",)):
        answer = cli(*args)
        assert (answer.code, answer.out) == (2, "")
        assert f"Usage: {' '.join(('discomputify', *args))} [OPTIONS] COMMAND" in answer.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("stats",), "No such command 'stats'. Did you mean 'status'?"),
        (("--nope",), "--nope"),
        (("config", "show", "--nope"), "--nope"),
        (("config", "show", "more"), "more"),
        (("init", "--master"), "--master"),
    ],
)
def test_wrong_usage_is_exit_2(cli: Any, args: tuple[str, ...], said: str) -> None:
    answer = cli(*args)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        (None, 0, ""),
        (7, 7, ""),
        ("text", 0, ""),
        (BadInput("no such folder"), 2, "error: no such folder\n"),
        (Unreachable("nobody at 10.0.0.1:1"), 3, "error: nobody at 10.0.0.1:1\n"),
        (JobFailed("part 3 failed"), 1, "error: part 3 failed\n"),
        (DiscomputifyError("odd"), 1, "error: odd\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (click.Abort(), 130, "interrupted\n"),
        (click.exceptions.Exit(4), 4, ""),
        (click.FileError("x"), 2, "Error: Could not open file 'x': unknown error\n"),
    ],
)
def test_what_a_command_ends_with_becomes_the_exit_code(
    cli: Any, outcome: list[Any], value: Any, code: int, said: str
) -> None:
    outcome.append(value)
    answer = cli("try")
    assert (answer.code, answer.out, answer.err) == (code, "", said)


@pytest.mark.parametrize(
    "error", [ValueError("odd number"), EOFError("short"), RecursionError("deep"), BrokenPipeError()]
)
def test_anything_else_is_a_bug_and_said_so(cli: Any, outcome: list[Any], error: Exception) -> None:
    outcome.append(error)
    answer = cli("try")
    assert answer.code == 1
    assert f"This is a bug in discomputify {discomputify_core.__version__}" in answer.err
    assert f"{type(error).__name__}: {error}" in answer.err
    assert "Traceback" not in answer.err
    assert "DISCOMPUTIFY_TRACEBACK=1" in answer.err


def test_a_traceback_on_demand(cli: Any, outcome: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCOMPUTIFY_TRACEBACK", "1")
    outcome.append(ValueError("odd number"))
    assert "Traceback" in cli("try").err


def test_every_command_takes_conf(cli: Any, outcome: list[Any]) -> None:
    outcome.append(lambda: click.echo(str(click.get_current_context().meta["discomputify_core.conf"])))
    assert cli("try", "--conf", "some.json").out == "some.json\n"
    assert "--conf F" in cli("try", "--help").out


def test_text_that_the_terminal_cannot_show_is_escaped() -> None:
    code = (
        "from discomputify_core.cli.output import safe_streams, say, note, table\n"
        "safe_streams()\nsay('größe → \\udcff')\nnote('→')\ntable(('A',), [('→',)])\n"
    )
    answer = python(code, env={**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}, encoding="latin-1")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == ["größe \\u2192 \\udcff", "A", "\\u2192"]
    assert answer.stderr == "\\u2192\n"


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
def test_a_reader_that_goes_away_is_no_error() -> None:
    code = (
        "import sys, click\n"
        "from discomputify_core.cli import main as m\n"
        "@click.command()\n"
        "def flood():\n"
        "    for _ in range(100_000): click.echo('x' * 100)\n"
        "sys.modules['flooding'] = type(sys)('flooding'); sys.modules['flooding'].flood = flood\n"
        "m.cli._table = {'flood': ('flooding:flood', 'Flood.')}\n"
        "sys.exit(m.main(['flood']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == main_module.READER_GONE
        assert process.stderr.read() == ""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_ctrl_c_is_exit_130() -> None:
    code = (
        "import signal, sys, click, threading\n"
        # These tests may run where SIGINT is ignored, as it is for a shell's background commands.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from discomputify_core.cli import main as m\n"
        "@click.command()\n"
        "def linger():\n"
        "    click.echo('here'); threading.Event().wait(60)\n"
        "sys.modules['lingering'] = type(sys)('lingering'); sys.modules['lingering'].linger = linger\n"
        "m.cli._table = {'linger': ('lingering:linger', 'Linger.')}\n"
        "sys.exit(m.main(['linger']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == "interrupted\n"


@pytest.mark.parametrize(
    ("words", "index", "found"),
    [
        ("discomputify st", 1, {"plain,status", "plain,stop"}),
        ("discomputify config ", 2, {"plain,check", "plain,show", "plain,schema"}),
        ("discomputify config show --js", 3, {"plain,--json"}),
    ],
)
def test_the_shell_completes(folder: Path, words: str, index: int, found: set[str]) -> None:
    environment = {"_DISCOMPUTIFY_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(index)}
    answer = python("from discomputify_core.cli.main import main; main([])", env={**os.environ, **environment})
    assert set(answer.stdout.split()) == found


def test_tables_are_drawn_for_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from discomputify_core.cli import output

    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    output.table(("NAME", "LOAD"), [("[red]a[/]", 1.5)])
    shown = capsys.readouterr().out
    assert "[red]a[/]" in shown  # a cell is text, not markup
    assert "\x1b[3" not in shown


def test_what_programs_and_peers_say_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from discomputify_core.cli import output

    output.say("\x1b]0;title\x07a\tb\nc\x9b2J")
    output.note("\x1b[31mred")
    output.table(("NAME",), [("\x1b[2J",)])
    shown = capsys.readouterr()
    assert shown.out.startswith("?]0;title?a\tb\nc?2J\n")
    assert "\x1b" not in shown.out + shown.err
