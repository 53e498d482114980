"""Work folders of attempts: what is in them, what a program leaves, that they go away. Real files."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from discomputify_core.errors import BadInput, BadPath, DiskError
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.job import JobSpec, Request
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.environment import command, environment
from discomputify_core.roles.node.part_conf import part_conf
from discomputify_core.roles.node.removing import remove_tree
from discomputify_core.roles.node.workspace import Left, Workspace, stage, sweep
from discomputify_testkit.confs import fresh_key, make_conf
from discomputify_testkit.fakes.memory_store import MemoryContents, MemoryStore, digest_of
from discomputify_testkit.running import run

ATTEMPT = AttemptId("job.2.1.key")
FILES = {
    "main.py": b"print('hello')",
    "run.sh": b"#!/bin/sh",
    "lib/helper.py": b"x = 1",
    "INPUT_PATH/1/a.txt": b"for part one",
    "INPUT_PATH/2/b.txt": b"for part two",
    "INPUT_PATH/\u00fcber.txt": b"for nobody",
}


class Node:
    """A cache, a store and a program in it."""

    def __init__(self, folder: Path, files: dict[str, bytes] = FILES) -> None:
        self.base = folder / "work" / "n1"
        self.cache = BlobCache(folder / "cache", 1_000_000)
        self.cache.open()
        self.store = MemoryStore(make_conf(), contents=MemoryContents())
        entries = [Entry("INPUT_PATH/empty", folder=True), Entry("logs", folder=True)]
        for path, data in files.items():
            digest = digest_of(data)
            self.store.contents.blobs[digest] = data
            entries.append(Entry(path, len(data), digest, path.endswith(".sh")))
        self.manifest = Manifest(entries)

    async def stage(self, *, root: bool = True, inputs: str = "all", attempt: AttemptId = ATTEMPT) -> Workspace:
        self.spec = JobSpec(ProcessId("job"), "key", 3, "blake2b:" + "0" * 64, inputs=inputs)
        return await stage(self.base, attempt, self.spec, 2, self.manifest, self.cache, self.store, root=root)


def staged(folder: Path, *, root: bool = True, inputs: str = "all") -> tuple[Node, Workspace]:
    node = Node(folder)
    return node, run(node.stage(root=root, inputs=inputs))


def tree(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix() + ("/" if path.is_dir() else "")
        for path in folder.rglob("*")
        if path.is_file() or not any(path.iterdir())
    }


@pytest.mark.parametrize("root", [True, False])
def test_holds_the_program_its_inputs_and_an_empty_output_path(tmp_path: Path, root: bool) -> None:
    node, workspace = staged(tmp_path, root=root)
    assert tree(workspace.folder) == {*FILES, "INPUT_PATH/empty/", "logs/", "OUTPUT_PATH/"}
    for path, data in FILES.items():
        assert (workspace.folder / path).read_bytes() == data
    assert stat.S_IMODE(workspace.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((workspace.folder / "run.sh").stat().st_mode) == 0o555
    links = (workspace.folder / "main.py").stat().st_nlink
    assert links == (1 if root else 2)
    assert workspace.look() == type(workspace.look())()
    assert workspace.remove()
    run(node.cache.close())


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ("lazy", set()),
        ("INPUT_PATH/{part}/**", {"INPUT_PATH/2/b.txt"}),
        ("INPUT_PATH/*.txt", {"INPUT_PATH/\u00fcber.txt"}),
    ],
)
def test_only_the_inputs_that_the_job_asks_for_are_there(tmp_path: Path, inputs: str, expected: set[str]) -> None:
    node, workspace = staged(tmp_path, inputs=inputs)
    found = {path for path in tree(workspace.folder) if path.startswith("INPUT_PATH/") and not path.endswith("/")}
    assert found == expected
    assert workspace.inputs.is_dir()
    assert (workspace.folder / "lib/helper.py").exists()
    run(node.cache.close())


def test_what_a_program_writes_into_its_copies_reaches_neither_the_cache_nor_the_next_part(tmp_path: Path) -> None:
    node, first = staged(tmp_path)
    path = first.folder / "INPUT_PATH/1/a.txt"
    path.chmod(0o644)
    path.write_bytes(b"FOR PART ONE")
    second = run(node.stage(attempt=AttemptId("job.2.2.key")))
    assert (second.folder / "INPUT_PATH/1/a.txt").read_bytes() == b"for part one"
    run(node.cache.close())


def test_what_a_program_writes_through_a_link_is_noticed_before_the_next_part(tmp_path: Path) -> None:
    node, first = staged(tmp_path, root=False)
    path = first.folder / "INPUT_PATH/1/a.txt"
    path.chmod(0o644)
    path.write_bytes(b"FOR PART ONE")
    assert first.look().strays == ("INPUT_PATH/1/a.txt",)
    first.remove()
    second = run(node.stage(root=False, attempt=AttemptId("job.2.2.key")))
    assert (second.folder / "INPUT_PATH/1/a.txt").read_bytes() == b"for part one"
    run(node.cache.close())


def test_many_attempts_that_link_and_unlink_the_same_files_keep_the_cache_trusted(tmp_path: Path) -> None:
    async def main() -> None:
        node = Node(tmp_path)

        async def one(number: int) -> None:
            workspace = await node.stage(root=False, attempt=AttemptId(f"job.{number}.1.key"))
            assert (workspace.folder / "main.py").read_bytes() == FILES["main.py"]
            assert await asyncio.to_thread(workspace.remove)

        await asyncio.gather(*(one(number) for number in range(20)))
        node.store.contents.blobs.clear()  # all is there and trusted: nothing is asked for
        await one(99)
        assert tree(node.base) == {"./"} or not tree(node.base)
        await node.cache.close()

    run(main())


def test_an_input_that_is_added_by_link_keeps_the_cache_trusted(tmp_path: Path) -> None:
    node, workspace = staged(tmp_path, root=False, inputs="lazy")
    entry = next(entry for entry in node.manifest.files if entry.path == "INPUT_PATH/1/a.txt")
    run(node.cache.ensure(node.store, ProcessId("job"), [entry]))
    workspace.add(entry)
    workspace.add(entry)
    assert (workspace.folder / entry.path).read_bytes() == b"for part one"
    assert workspace.look().strays == ()
    assert not list((workspace.home / "fetched").iterdir())
    node.cache.place(entry, tmp_path / "trusted", link=False)
    run(node.cache.close())


def test_an_input_is_not_added_through_a_link_that_leads_out(tmp_path: Path) -> None:
    node, workspace = staged(tmp_path, inputs="lazy")
    entry = next(entry for entry in node.manifest.files if entry.path == "INPUT_PATH/1/a.txt")
    run(node.cache.ensure(node.store, ProcessId("job"), [entry]))
    (tmp_path / "outside").mkdir()
    (workspace.inputs / "1").symlink_to(tmp_path / "outside")
    with pytest.raises(BadInput, match="replaced its folder"):
        workspace.add(entry)
    assert not list((tmp_path / "outside").iterdir())
    run(node.cache.close())


def test_new_and_changed_files_outside_output_path_are_named_or_collected(tmp_path: Path) -> None:
    node, workspace = staged(tmp_path)
    (workspace.outputs / "kept.txt").write_text("an output")
    (workspace.folder / "lib/__pycache__").mkdir()
    (workspace.folder / "lib/__pycache__/helper.pyc").write_text("")
    (workspace.folder / "plot.png").write_text("")
    (workspace.folder / "logs/run.log").write_text("")
    (workspace.folder / "lib/OUTPUT_PATH").mkdir()
    (workspace.folder / "lib/OUTPUT_PATH/x").write_text("")
    (workspace.folder / "main.py").unlink()
    (workspace.folder / "lib/helper.py").unlink()
    (workspace.folder / "lib/helper.py").write_text("x = 2")
    left = workspace.look(["*.png", "/logs/"])
    assert left.collected == ("plot.png", "logs/run.log")
    assert left.strays == ("lib/helper.py", "lib/OUTPUT_PATH/x")
    assert left.stray_count == 2
    run(node.cache.close())


def test_few_of_many_strays_are_named_and_odd_names_are_text(tmp_path: Path) -> None:
    node, workspace = staged(tmp_path)
    for number in range(50):
        (workspace.folder / f"{number:02}.tmp").write_text("")
    os.close(os.open(os.fsencode(workspace.folder) + b"/\xff", os.O_CREAT, 0o600))
    left = workspace.look()
    assert (len(left.strays), left.stray_count) == (20, 51)
    for name in left.strays:
        name.encode()
    run(node.cache.close())


def test_is_removed_also_where_folders_are_read_only_and_links_lead_out(tmp_path: Path) -> None:
    node, workspace = staged(tmp_path, root=False)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("stays")
    (workspace.folder / "a/b").mkdir(parents=True)
    (workspace.folder / "a/b/c").write_text("")
    (workspace.folder / "way out").symlink_to(outside)
    (workspace.folder / "a").chmod(0)
    workspace.folder.chmod(0o500)
    assert workspace.remove()
    assert not workspace.home.exists()
    assert (outside / "precious").read_text() == "stays"
    assert workspace.remove()
    run(node.cache.close())


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_can_remove_what_its_program_locked(tmp_path: Path) -> None:
    script = (
        "import os, sys, tempfile; from pathlib import Path\n"
        "from discomputify_core.roles.node.removing import remove_tree\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "home = Path(tempfile.mkdtemp()); (home / 'a/b').mkdir(parents=True); (home / 'a/b/c').write_text('')\n"
        "(home / 'a/b').chmod(0); (home / 'a').chmod(0o500)\n"
        "sys.exit(0 if remove_tree(home) and not home.exists() else 1)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=30, check=False).returncode == 0
    assert remove_tree(tmp_path / "never was")


def test_leftovers_of_an_earlier_session_are_swept(tmp_path: Path) -> None:
    base = tmp_path / "work" / "n1"
    sweep(base)
    (base / "job.1.1.key" / "work" / "deep").mkdir(parents=True)
    (base / "job.1.1.key" / "work" / "deep").chmod(0)
    (base / "lock").write_text("")
    sweep(base)
    assert [path.name for path in base.iterdir()] == ["lock"]


def test_nothing_stays_where_the_program_cannot_be_placed(tmp_path: Path) -> None:
    node = Node(tmp_path, {"main.py": b""})
    program = node.manifest.files
    for name in ("INPUT_PATH", "OUTPUT_PATH"):
        node.manifest = Manifest([*program, Entry(name, 0, digest_of(b""))])
        with pytest.raises(BadInput, match=f"{name}.*Rename it"):
            run(node.stage())
        assert not list(node.base.iterdir())
    (node.base / "file").write_text("")
    node.base = node.base / "file"
    node.manifest = Manifest(program)
    with pytest.raises(DiskError) as caught:
        run(node.stage())
    assert str(node.base) in str(caught.value)
    run(node.cache.close())


@pytest.mark.parametrize("attempt", ["../up", "a/b", "..", ""])
def test_an_attempt_cannot_name_a_folder_elsewhere(tmp_path: Path, attempt: str) -> None:
    node = Node(tmp_path)
    with pytest.raises((BadInput, BadPath)):
        run(node.stage(attempt=AttemptId(attempt)))
    assert not node.base.exists()
    run(node.cache.close())


def test_staging_that_is_cancelled_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        node = Node(tmp_path)
        await asyncio.to_thread(sweep, node.base)
        placing, place = asyncio.Event(), node.cache.place
        loop = asyncio.get_running_loop()

        def slow(entry: Entry, target: Path, *, link: bool) -> bool:
            loop.call_soon_threadsafe(placing.set)
            return place(entry, target, link=link)

        monkeypatch.setattr(node.cache, "place", slow)
        task = asyncio.create_task(node.stage())
        await placing.wait()
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert not list(node.base.iterdir())
        await node.cache.close()

    run(main())


def test_the_environment_says_who_the_part_is_and_nothing_of_the_cluster(tmp_path: Path) -> None:
    node, workspace = staged(tmp_path)
    spec = attrs.evolve(
        node.spec,
        request=Request(cpus=3, needs={"gpu": 2, "big-disk": 1}),
        env={"MKL_NUM_THREADS": "1", "MINE": "yes", "DISCOMPUTIFY_PART": "99", "CUDA_VISIBLE_DEVICES": "7"},
        args=("--fast",),
    )
    found = environment(
        spec,
        2,
        1,
        workspace,
        base={"PATH": "/bin", "DISCOMPUTIFY_CONF": "/secret", "OMP_NUM_THREADS": "64"},
        agent={"DISCOMPUTIFY_AGENT": "unix:/a", "DISCOMPUTIFY_TOKEN": "t"},
        indices={"gpu": [1, 3], "big-disk": [0]},
    )
    assert found == {
        "PATH": "/bin",
        "OMP_NUM_THREADS": "3",
        "OPENBLAS_NUM_THREADS": "3",
        "MKL_NUM_THREADS": "1",
        "NUMEXPR_NUM_THREADS": "3",
        "VECLIB_MAXIMUM_THREADS": "3",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        "MINE": "yes",
        "CUDA_VISIBLE_DEVICES": "1,3",
        "DISCOMPUTIFY_GPU_INDICES": "1,3",
        "DISCOMPUTIFY_BIG_DISK_INDICES": "0",
        "DISCOMPUTIFY_AGENT": "unix:/a",
        "DISCOMPUTIFY_TOKEN": "t",
        "DISCOMPUTIFY_PART": "2",
        "DISCOMPUTIFY_TOTAL_PARTS": "3",
        "DISCOMPUTIFY_PROCESS_ID": "job",
        "DISCOMPUTIFY_ATTEMPT": "1",
        "DISCOMPUTIFY_INPUT_PATH": str(workspace.folder / "INPUT_PATH"),
        "DISCOMPUTIFY_OUTPUT_PATH": str(workspace.folder / "OUTPUT_PATH"),
        "DISCOMPUTIFY_WORK_PATH": str(workspace.folder),
        "DISCOMPUTIFY_CHECKPOINT_PATH": str(workspace.home / "checkpoint"),
        "DISCOMPUTIFY_INPUTS": "all",
    }
    assert command("/py", spec, 2) == ("/py", "main.py", "2", "3", "job", "--fast")
    run(node.cache.close())


@pytest.mark.parametrize("own", [False, True])
def test_a_program_finds_a_conf_without_keys_unless_it_brings_one(tmp_path: Path, own: bool) -> None:
    node = Node(tmp_path, {"main.py": b"pass", **({"discomputify_conf.json": b"own"} if own else {})})
    spec = JobSpec(ProcessId("job"), "key", 3, "blake2b:" + "0" * 64, input_path="data/in")
    conf = part_conf(make_conf(encryption_key=fresh_key(), timeout=7.0), spec)
    workspace = run(stage(node.base, ATTEMPT, spec, 2, node.manifest, node.cache, node.store, conf=conf))
    text = (workspace.folder / "discomputify_conf.json").read_text(encoding="utf-8")
    assert (text == "own") is own
    if not own:
        values = json.loads(text)
        assert (values["INPUT_PATH"], values["OUTPUT_PATH"], values["TIMEOUT"]) == ("data/in", "OUTPUT_PATH", 7.0)
        assert not [key for key in values if key.endswith("CRYPTION_KEY")]
    assert workspace.look() == Left()  # not among what the program left
