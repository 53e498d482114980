"""The program API in real ``main.py`` processes, started as a computing node starts them."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from discomputify_core.errors import BadPath
from discomputify_core.model.files import Entry, Manifest, check_path
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.job import JobSpec
from discomputify_core.program.names import fault
from discomputify_core.roles.node.agent_server import AgentServer
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.environment import command, environment
from discomputify_core.roles.node.part_agent import PartAgent
from discomputify_core.roles.node.workspace import stage
from discomputify_testkit.confs import make_conf
from discomputify_testkit.fakes.memory_store import MemoryContents, MemoryStore, digest_of
from discomputify_testkit.running import run

FILES = {
    "INPUT_PATH/numbers.txt": b"1 2 3",
    "INPUT_PATH/deep/down/\u00fc.txt": b"deep",
    "INPUT_PATH/settings.json": b"from inputs",
    "INPUT_PATH/INPUT_PATH/twice.txt": b"twice",
    "settings.json": b"from program",
    "table.csv": b"beside main.py",
}


class Part:
    """How one run of a main.py went."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out.splitlines(), err
        self.progress: list[tuple[float, str]] = []
        self.outputs: dict[str, bytes] = {}
        self.inputs: set[str] = set()


async def _run(folder: Path, main: str, inputs: str, store: MemoryStore) -> Part:
    files = {"main.py": b"from discomputify_core import program\n" + main.encode(), **FILES}
    entries = []
    for path, data in files.items():
        store.contents.blobs[digest_of(data)] = data
        entries.append(Entry(path, len(data), digest_of(data)))
    manifest = Manifest(entries)
    spec = JobSpec(ProcessId("job"), "key", 3, "blake2b:" + "0" * 64, inputs=inputs)
    cache = BlobCache(folder / "cache", 10_000)
    cache.open()
    server = AgentServer()
    await server.start()
    heard: list[tuple[float, str]] = []
    try:
        attempt = AttemptId("job.2.1.key")
        workspace = await stage(folder / "work", attempt, spec, 2, manifest, cache, store, root=False)
        there = {path.name for path in workspace.inputs.rglob("*")}
        if inputs == "lazy":
            assert not there
        agent = PartAgent(workspace, spec, manifest, cache, store, lambda *said: heard.append(said))
        more = server.register(attempt, agent.handle)
        env = environment(spec, 2, 1, workspace, base=dict(os.environ), agent=more, indices={})
        process = await asyncio.create_subprocess_exec(
            *command(sys.executable, spec, 2),
            cwd=workspace.folder,
            env=env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), 25)
        except BaseException:
            process.kill()
            raise
        part = Part(process.returncode or 0, out.decode(), err.decode())
        part.progress = heard
        part.outputs = {
            path.relative_to(workspace.outputs).as_posix(): path.read_bytes()
            for path in workspace.outputs.rglob("*")
            if path.is_file()
        }
        part.inputs = {p.relative_to(workspace.inputs).as_posix() for p in workspace.inputs.rglob("*") if p.is_file()}
        assert workspace.look().strays == ()
        return part
    finally:
        await server.close()
        await cache.close()


def ran(folder: Path, main: str, inputs: str = "all", store: MemoryStore | None = None) -> Part:
    return run(_run(folder, main, inputs, store or MemoryStore(make_conf(), contents=MemoryContents())))


def test_a_part_knows_which_one_it_is(tmp_path: Path) -> None:
    part = ran(tmp_path, "print(program.part(), program.total_parts(), program.process_id(), program.attempt())")
    assert (part.out, part.err) == (["2 3 job 1"], "")


@pytest.mark.parametrize("inputs", ["all", "lazy"])
def test_inputs_are_found_below_input_path_and_then_beside_main(tmp_path: Path, inputs: str) -> None:
    part = ran(
        tmp_path,
        "import os, pathlib\n"
        "os.chdir('/')\n"
        "for path in ['numbers.txt', 'INPUT_PATH/numbers.txt', './deep//down/\u00fc.txt', \n"
        "             'settings.json', 'table.csv', pathlib.Path('INPUT_PATH', 'INPUT_PATH', 'twice.txt')]:\n"
        "    with program.open(path, encoding='utf-8') as file:\n"
        "        print(file.read())\n"
        "with program.open('numbers.txt', 'rb') as file:\n"
        "    print(file.read())\n",
        inputs,
    )
    assert part.err == ""
    assert part.out == ["1 2 3", "1 2 3", "deep", "from inputs", "beside main.py", "twice", "b'1 2 3'"]


def test_a_lazy_input_is_fetched_when_first_opened_and_no_other(tmp_path: Path) -> None:
    part = ran(
        tmp_path,
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    print(set(pool.map(lambda _: program.open('numbers.txt').read(), range(32))))\n",
        "lazy",
    )
    assert part.out == ["{'1 2 3'}"]
    assert part.inputs == {"numbers.txt"}


def test_a_lazy_input_that_the_store_lost_is_an_error_with_the_stores_words(tmp_path: Path) -> None:
    class Forgetful(MemoryStore):
        async def get(self, process_id: Any, blobs: Any, moved: Any = None) -> None:
            if any(blob.digest == digest_of(b"deep") for blob in blobs):
                self.contents.blobs.pop(digest_of(b"deep"), None)
            await super().get(process_id, blobs, moved)

    part = ran(
        tmp_path,
        "program.open('deep/down/\u00fc.txt')",
        "lazy",
        Forgetful(make_conf(), contents=MemoryContents()),
    )
    assert part.code == 1
    assert "BlobMissing: The store does not hold blake2b:" in part.err


def test_outputs_are_written_below_output_path_and_can_be_read_back(tmp_path: Path) -> None:
    part = ran(
        tmp_path,
        "with program.open('a/b/sums.txt', 'w') as file: file.write('six')\n"
        "with program.open('OUTPUT_PATH/a/b/sums.txt', 'a') as file: file.write('!')\n"
        "with program.open('raw', 'xb') as file: file.write(b'raw')\n"
        "with program.open('raw', 'r+b') as file: file.write(b'R')\n"
        "with program.open_output('a/b/sums.txt') as file: print(file.read())\n"
        "with program.open_output('OUTPUT_PATH/raw', 'rb') as file: print(file.read())\n",
    )
    assert part.err == ""
    assert part.out == ["six!", "b'Raw'"]
    assert part.outputs == {"a/b/sums.txt": b"six!", "raw": b"Raw"}


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        ("open('../other')", "CanNotGoUpInDirectory", "'..'"),
        ("open('a/../../x', 'w')", "CanNotGoUpInDirectory", "'..'"),
        ("open_output('..')", "CanNotGoUpInDirectory", "'..'"),
        ("open('/etc/passwd')", "CanNotGoUpInDirectory", "absolute"),
        ("open('nothing.txt')", "FileNotFoundAtInputPath", "submit DIR --plan"),
        ("open('deep')", "FileNotFoundAtInputPath", "'deep'"),
        ("open_output('nothing.txt')", "FileNotFound", "'nothing.txt'"),
        ("open('', 'w')", "CanNotOpenFileAtOutputPath", "directory"),
        ("open('con', 'w')", "CanNotOpenFileAtOutputPath", "Windows keeps"),
        ("open('a/trail.', 'a')", "CanNotOpenFileAtOutputPath", "ends in a space or a dot"),
        ("open_output('OUTPUT_PATH/nul.txt', 'xb')", "CanNotOpenFileAtOutputPath", "'nul.txt'"),
        ("open_output('con')", "FileNotFound", "'con'"),
        ("open('numbers.txt/x', 'r+')", "FileNotFound", "numbers.txt/x"),
        ("progress('half')", "BadProgress", "'half'"),
        ("progress(True)", "BadProgress", "True"),
        ("progress(float('nan'))", "BadProgress", "NaN"),
        ("progress(0.5, 5)", "BadProgress", "int"),
    ],
)
def test_each_misuse_has_its_own_exception(
    call: str, error: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from discomputify_core import program

    for name, value in {"PART": "1", "INPUTS": "all", "WORK_PATH": str(tmp_path)}.items():
        monkeypatch.setenv("DISCOMPUTIFY_" + name, value)
    for name in ("INPUT_PATH", "OUTPUT_PATH"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv("DISCOMPUTIFY_" + name, str(tmp_path / name))
    (tmp_path / "INPUT_PATH" / "deep").mkdir()
    with pytest.raises(program.ProgramError) as caught:
        eval(f"program.{call}", {"program": program})
    assert type(caught.value).__name__ == error
    assert words in str(caught.value)


NAMES = st.lists(
    st.one_of(
        st.text(st.characters(codec=None), min_size=1, max_size=6),
        st.sampled_from(
            ["con", "CON ", "aux.txt", "com1.a.b", "lpt10", "C:", "C:x", "é:", "x.", "x ", "n" * 255, "é" * 130]
        ),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=300, deadline=None)
@given(NAMES)
@example(["n" * 200] * 5)
@example(["n" * 202] * 5)
@example(["n" * 202] * 4 + ["n" * 204])
def test_an_output_may_have_the_names_that_a_tree_can_hold(names: list[str]) -> None:
    path = "/".join(name for name in "/".join(names).split("/") if name not in ("", ".", "..")) or "x"
    try:
        check_path(path)
        check_path(f"outputs/{path}")
    except BadPath:
        assert fault(path)
    else:
        assert fault(path) == ""


def test_a_missing_input_says_what_else_it_may_be(tmp_path: Path) -> None:
    part = ran(
        tmp_path,
        "program.open('mine.txt', 'w').close()\n"
        "for path in ('mine.txt', 'numbers.txt'):\n"
        "    try:\n"
        "        program.open(path)\n"
        "    except FileNotFoundError as error:\n"
        "        print(error)\n",
        "INPUT_PATH/{part}/**",
    )
    assert "program.open_output('mine.txt')" in part.out[0]
    assert "--inputs INPUT_PATH/{part}/**" in part.out[1]


def test_outside_a_job_everything_says_how_to_run_it(tmp_path: Path) -> None:
    main = tmp_path / "main.py"
    main.write_text(
        "from discomputify_core import program\n"
        "for call in (program.part, program.total_parts, program.process_id, program.attempt,\n"
        "             lambda: program.open('x'), lambda: program.open('x', 'w'), lambda: program.progress(1)):\n"
        "    try:\n"
        "        call()\n"
        "    except program.NotInAPart as error:\n"
        "        assert 'discomputify submit DIR --local' in str(error), error\n"
        "        print('told')\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("DISCOMPUTIFY_")}
    done = subprocess.run([sys.executable, str(main)], env=env, capture_output=True, timeout=30, check=False)
    assert done.stdout.split() == [b"told"] * 7, done.stderr


def test_a_part_number_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from discomputify_core import program

    for text in ("", "0", "-1", "one", "\u0663"):
        monkeypatch.setenv("DISCOMPUTIFY_PART", text)
        with pytest.raises(program.NotInAPart, match="not a number above 0"):
            program.part()


def test_progress_arrives_seldom_in_order_and_the_last_one_wins(tmp_path: Path) -> None:
    part = ran(
        tmp_path,
        "for number in range(100_000):\n    program.progress(number / 99_999, f'step {number}')\n",
    )
    assert (part.code, part.err) == (0, "")
    assert 2 <= len(part.progress) < 50
    assert part.progress[0] == (0.0, "step 0")
    assert part.progress == sorted(part.progress)
    assert part.progress[-1] == (1.0, "step 99999")


def test_the_last_progress_before_a_long_silence_arrives_meanwhile(tmp_path: Path) -> None:
    part = ran(
        tmp_path,
        "import os\n"
        "program.progress(0.1)\n"
        "program.progress(2, 'x' * 1000)\n"
        "from discomputify_core.program import reporter\n"
        "reporter.REPORTER._timer.join()\n"
        "os._exit(0)\n",
    )
    assert part.progress == [(0.1, ""), (1.0, "x" * 200)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_progress_works_in_a_forked_child_and_from_threads(tmp_path: Path) -> None:
    part = ran(
        tmp_path,
        "import os, sys, threading\n"
        "program.progress(0.1)\n"
        "program.progress(0.2)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    program.progress(0.3, 'child')\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "threads = [threading.Thread(target=program.progress, args=(0.4,)) for _ in range(8)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n",
    )
    assert (part.code, part.out) == (0, [])
    assert (0.2, "") in part.progress
    assert (0.3, "child") in part.progress
    assert part.progress[-1] == (0.4, "")


def test_progress_without_a_node_is_silent_and_an_input_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from discomputify_core import program
    from discomputify_core.program import agent

    monkeypatch.setattr(agent, "REACH", 0.2)
    values = {"PART": "1", "INPUTS": "lazy", "WORK_PATH": str(tmp_path), "TOKEN": "t", "AGENT": f"unix:{tmp_path}/none"}
    for name, value in {**values, "INPUT_PATH": str(tmp_path / "in"), "OUTPUT_PATH": str(tmp_path)}.items():
        monkeypatch.setenv("DISCOMPUTIFY_" + name, value)
    program.progress(0.5)
    with pytest.raises(program.ProgramError, match="computing node of this part did not answer"):
        program.open("numbers.txt")


def test_the_import_brings_nothing_heavy_with_it() -> None:
    script = (
        "import os, sys; before = set(sys.modules); from discomputify_core import program\n"
        "print(*sorted(name.partition('.')[0] for name in set(sys.modules) - before))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            "import sys; sys.path += sys.argv[1:]\n" + script,
            str(Path(__file__).parents[3] / "discomputify_core" / "src"),
        ],
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert set(done.stdout.decode().split()) == {"__future__", "discomputify_core"}


def test_a_checkpoint_that_the_node_cannot_take_is_a_program_error(tmp_path: Path) -> None:
    lines = "try:\n    program.checkpoint()\nexcept program.ProgramError as error:\n    print(error)"
    part = ran(tmp_path, lines)
    assert part.out == ["The checkpoint could not be kept: A part cannot ask its node for 'checkpoint'."]


def test_there_is_nothing_to_keep_outside_a_part() -> None:
    lines = "from discomputify_core import program\nprogram.checkpoint()"
    env = {name: value for name, value in os.environ.items() if not name.startswith("DISCOMPUTIFY_")}
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=30, env=env)
    assert "NotInAPart: This program does not run as a part of a job" in done.stderr
