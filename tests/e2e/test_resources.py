"""What parts ask for and nodes have: memory, named resources, interpreters; and what `why` says of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from .cluster_kit import Cluster, program, until
from .conftest import MakeCluster

#: Waits until PAIR parts run at once (or for a second, where no more may), and writes when and with what it ran.
TIMED = """
import json, os, time
there, me = os.environ["THERE"], os.environ["DISCOMPUTIFY_PART"]
began = time.monotonic()
open(os.path.join(there, me), "w").close()
while len(os.listdir(there)) < int(os.environ["PAIR"]) and time.monotonic() < began + 30:
    time.sleep(0.01)
time.sleep(0.2)
found = {
    "began": began,
    "ended": time.monotonic(),
    "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
    "threads": {name: value for name, value in os.environ.items() if name.endswith("_THREADS")},
    "own": os.environ.get("OWN"),
}
with open(os.path.join(os.environ["DISCOMPUTIFY_OUTPUT_PATH"], "ran.json"), "w") as file:
    json.dump(found, file)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One node with 8 slots and 2 GPUs."""
    made = Cluster(tmp_path_factory.mktemp("cluster"), ("127.0.0.1",))
    try:
        yield made.start(SLOTS=8, RESOURCES={"gpu": 2})
    finally:
        made.close()


def ran(cluster: Cluster, folder: Path, process_id: str, parts: int, pair: int, *options: object) -> list[Any]:
    """Run TIMED; what its parts wrote."""
    there = folder / "there"
    there.mkdir(parents=True)
    timed = program(folder / "program", TIMED)
    env = ("--env", f"THERE={there}", "--env", f"PAIR={pair}")
    cluster.submit(timed, "-n", parts, "--process-id", process_id, "--out", folder, *env, *options).ok()
    paths = sorted((folder / process_id).glob("*/ran.json"))
    assert len(paths) == parts
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def at_once(found: list[Any]) -> int:
    """The most that ran at one time."""
    return max(len([each for each in found if each["began"] <= other["began"] < each["ended"]]) for other in found)


def test_parts_that_need_half_the_memory_never_run_three_at_once(cluster: Cluster, tmp_path: Path) -> None:
    half = cluster.node_states()["127.0.0.1"]["facts"]["memory"] // 2
    assert at_once(ran(cluster, tmp_path, "half", 8, 2, "--memory", half)) == 2


def test_concurrent_parts_get_different_gpus(cluster: Cluster, tmp_path: Path) -> None:
    found = ran(cluster, tmp_path, "gpus", 6, 2, "--need", "gpu=1")
    assert at_once(found) == 2
    assert {each["gpu"] for each in found} == {"0", "1"}
    for one, other in combinations(found, 2):
        if one["began"] < other["ended"] and other["began"] < one["ended"]:
            assert one["gpu"] != other["gpu"]
    (both,) = ran(cluster, tmp_path / "both", "both", 1, 1, "--need", "gpu=2")
    assert both["gpu"] == "0,1"


def test_libraries_get_as_many_threads_as_cpus_were_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"]
    names.append("VECLIB_MAXIMUM_THREADS")
    found = ran(cluster, tmp_path, "threads", 4, 2, "--cpus", 3, "--env", "MKL_NUM_THREADS=7", "--env", "OWN=a=b c")
    assert at_once(found) == 2  # of 3 CPUs each, on 8 slots
    for each in found:
        assert each["threads"] == {**dict.fromkeys(names, "3"), "MKL_NUM_THREADS": "7"}
        assert each["own"] == "a=b c"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--need", "gpu=3"], "a part needs 3 gpu, 127.0.0.1 has 2"),
        (["--need", "licence=1"], "a part needs 1 licence, 127.0.0.1 has none"),
        (["--cpus", "9"], "a part needs 9 CPUs, 127.0.0.1 has 8"),
        (["--memory", "900T"], "of memory, 127.0.0.1 has "),
    ],
)
def test_why_names_at_once_what_nobody_has(cluster: Cluster, tmp_path: Path, options: list[str], said: str) -> None:
    name = options[0].strip("-") + options[1].replace("=", "-")
    folder = program(tmp_path / "program", TIMED)
    cluster.submit(folder, "-n", 2, "--process-id", name, "--detach", *options).ok()
    why = cluster.why(name, says="no node could ever run one: ")
    assert why.startswith(f"{name} is waiting: 2 parts are ready, but no node could ever run one: a part needs ")
    assert said in why


def test_a_job_that_would_wait_for_ever_can_be_stopped(cluster: Cluster, tmp_path: Path) -> None:
    folder = program(tmp_path / "program", TIMED)
    cluster.submit(folder, "-n", 2, "--process-id", "never", "--need", "tpu=1", "--detach").ok()
    cluster.cli("stop", "never").ok()
    status = cluster.status("never")
    assert (status["state"], status["parts"]["stopped"]) == ("stopped", 2)


def test_why_names_the_resource_that_running_parts_hold(cluster: Cluster, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    folder = program(tmp_path / "program", TIMED)
    env = ("--env", f"THERE={there}", "--env", "PAIR=3")
    cluster.submit(folder, "-n", 3, "--process-id", "busy", "--need", "gpu=1", "--detach", *env).ok()
    until(lambda: len(list(there.iterdir())) == 2)
    assert "1 part is ready; waiting for 1 free gpu on 127.0.0.1" in cluster.why("busy")
    assert "part 3 is ready: " in cluster.why("busy.3")
    (there / "go").touch()
    assert cluster.cli("wait", "busy").code == 0


def test_a_job_whose_inputs_do_not_fit_a_cache_is_not_placed_there(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster("127.0.0.1", "127.0.0.2")
    cluster.start_store()
    cluster.start_master()
    cluster.start_node("127.0.0.1", CACHE_LIMIT=200_000)
    files = {"INPUT_PATH/1/a": "a" * 150_000, "INPUT_PATH/2/b": "b" * 150_000}
    folder = program(tmp_path / "big", "print('ran')", files)
    cluster.submit(folder, "-n", 2, "--process-id", "big", "--detach").ok()
    why = cluster.why("big", says="no node could ever run one: ")
    assert "300.0 kB of files" in why
    assert "200.0 kB (CACHE_LIMIT)" in why
    sliced = cluster.submit(folder, "-n", 2, "--process-id", "slices", "--inputs", "INPUT_PATH/{part}/**").ok()
    assert sliced.json["nodes"] == {"127.0.0.1": 2}
    cluster.start_node("127.0.0.2")
    assert cluster.cli("wait", "big").code == 0
    assert cluster.status("big")["nodes"] == {"127.0.0.2": 2}


def test_a_broken_node_does_not_fail_the_job_and_is_shown(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster("127.0.0.1", "127.0.0.2")
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True, timeout=60)
    cluster.start_store()
    cluster.start_master()
    cluster.start_node("127.0.0.2", PYTHON=str(bare / "bin" / "python"))
    cluster.start_node("127.0.0.1")
    folder = program(tmp_path / "program", "import attrs, time\ntime.sleep(0.1)\n")
    done = cluster.submit(folder, "-n", 12, "--process-id", "broken").ok().json
    assert done["nodes"] == {"127.0.0.1": 12}
    failure = done["failures"][0]
    assert failure["node"] == "127.0.0.2"
    assert f"{bare / 'bin' / 'python'} -m pip install attrs" in failure["reason"]
    assert "No module named 'attrs'" in failure["reason"]
    refusal = "parts of 'broken' failed there while others succeed elsewhere"
    assert refusal in cluster.node_states()["127.0.0.2"]["reason"]
    assert refusal in cluster.why("broken")

    # Where the program says what it needs, no part is wasted on that node.
    (folder / "requirements.txt").write_text("attrs>=20\n", encoding="utf-8")
    told = cluster.submit(folder, "-n", 6, "--process-id", "told").ok().json
    assert (told["nodes"], told["failures"]) == ({"127.0.0.1": 6}, [])
    impossible = ("-n", 1, "--process-id", "impossible", "--require", "attrs>=9999", "--detach")
    cluster.submit(folder, *impossible).ok()
    cluster.why("impossible", "attrs>=9999")
    cluster.cli("stop", "impossible").ok()
