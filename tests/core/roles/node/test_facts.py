"""What a node says of itself, how busy it is, and why it thinks a part failed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from discomputify_core.errors import BadConf
from discomputify_core.model.conf import Place
from discomputify_core.model.ids import NodeName
from discomputify_core.roles.node.diagnose import diagnose
from discomputify_core.roles.node.facts import facts, interpreter
from discomputify_core.roles.node.load import LoadMeter
from discomputify_testkit.confs import make_conf


def script(folder: Path, text: str) -> str:
    path = folder / "python"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def test_facts_of_the_own_interpreter() -> None:
    found = facts(
        make_conf(resources={"gpu": 2}), NodeName("n1"), slots=3, memory=10, owner="me@here", cache_limit=7, session="s"
    )
    assert (found.name, found.slots, found.memory, found.cache_limit) == ("n1", 3, 10, 7)
    assert found.resources == {"gpu": 2}
    assert found.interpreter == sys.executable
    assert found.python.split(".")[:2] == [str(number) for number in sys.version_info[:2]]
    assert "discomputify-core" in found.packages
    assert found.version == found.packages["discomputify-core"]
    assert found.os
    assert found.architecture


def test_facts_of_another_interpreter_are_asked_of_it(tmp_path: Path) -> None:
    other = script(tmp_path, f'exec "{sys.executable}" "$@"\n')
    found = facts(
        make_conf(python=Place(other)), NodeName("n1"), slots=1, memory=1, owner="", cache_limit=1, session=""
    )
    assert found.packages == interpreter(None).packages
    assert found.python == interpreter(None).version


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("echo 'no such thing' >&2; exit 3", "no such thing"),
        ('echo \'{"version": "3.7.1", "path": "/x", "packages": []}\'', "3.7.1.*3.10"),
        ("exit 0", "says nothing"),
    ],
)
def test_a_python_that_cannot_run_parts_is_named(tmp_path: Path, text: str, why: str) -> None:
    python = script(tmp_path, text)
    with pytest.raises(BadConf, match=why) as caught:
        interpreter(python)
    assert python in str(caught.value)
    assert caught.value.fields["problems"]


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConf, match=r"PYTHON.*nowhere.*not a program"):
        interpreter(str(tmp_path / "nowhere"))


def test_load_is_in_per_cent_and_gigabytes() -> None:
    load = LoadMeter().load()
    assert 0 <= load.CPU_LOAD <= 100
    assert 0 < load.MEM_LOAD <= 100
    assert load.MEM_USED > 0


def stderr_of(program: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=False)
    return done.returncode, done.stderr.decode()


def said(program: str) -> str:
    code, stderr = stderr_of(program)
    return diagnose(code=code, stderr_tail=stderr, python="3.11.2", interpreter="/venv/bin/python").reason


def test_a_missing_module_is_reported_with_node_interpreter_and_pip_line() -> None:
    code, stderr = stderr_of("import numpie.linalg")
    found = diagnose(code=code, stderr_tail=stderr, python="3.11.2", interpreter="/venv/bin/python")
    assert found.missing_module == "numpie"
    for words in ("failed under python 3.11.2 at /venv/bin/python", "/venv/bin/python -m pip install numpie"):
        assert words in found.reason
    known = diagnose(code=1, stderr_tail="ModuleNotFoundError: No module named 'cv2'", interpreter="py")
    assert "py -m pip install opencv-python" in known.reason
    old = "ModuleNotFoundError: No module named 'DISCOMPUTIFY.BASE_PROGRAM'; 'DISCOMPUTIFY' is not a package"
    assert "py -m pip install discomputify-legacy" in diagnose(code=1, stderr_tail=old, interpreter="py").reason


def test_a_missing_module_that_the_program_coped_with_is_not_the_reason() -> None:
    program = "try:\n    import numpie\nexcept ImportError:\n    raise ValueError('no luck')"
    code, stderr = stderr_of(program)
    found = diagnose(code=code, stderr_tail=stderr)
    assert found.missing_module == ""
    assert "ValueError: no luck (exit code 1)" in found.reason


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("def f(:\n  pass", "SyntaxError: invalid syntax (<string>, line 1)"),
        ("raise MemoryError", "ran out of memory"),
        ("raise KeyError('k')", "KeyError: 'k' (exit code 1)"),
        ("class Odd(Exception): pass\nraise Odd('way')", "failed with Odd: way (exit code 1)"),
        ("class Odd(Exception): pass\ntry: 1 / 0\nfinally: raise Odd", "failed with Odd (exit code 1)"),
        ("class ArrayMemoryError(MemoryError): pass\nraise ArrayMemoryError", "ran out of memory (ArrayMemoryError)"),
        ("raise AssertionError", "failed with AssertionError (exit code 1)"),
        ("import sys; sys.exit(3)", "ended with exit code 3"),
        ("import sys; print('Errors happened: 4', file=sys.stderr); sys.exit(3)", "ended with exit code 3"),
    ],
)
def test_the_reason_names_what_python_said(program: str, words: str) -> None:
    assert words in said(program)


def test_signals_have_names_and_hints() -> None:
    assert "SIGKILL" in diagnose(signal=signal.SIGKILL).reason
    assert "memory" in diagnose(signal=signal.SIGKILL).reason
    assert diagnose(signal=signal.SIGTERM).reason == "was ended by SIGTERM"
    assert "signal 200" in diagnose(signal=200).reason
