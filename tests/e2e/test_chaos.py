"""Every role is killed at random moments while jobs run: nothing is lost, nothing counts twice, nothing is left over.

The short version is part of the suite. The long one (``nox -s long``) prints a table of what was killed and how long it
took until the cluster worked again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from .cluster_kit import NODES, Cluster, program, tree, until

#: Whole clusters that die and come back, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)

#: The outputs of a part depend on its number alone, so that every run gives the same bytes.
WORK = """
import hashlib, pathlib, sys, time
part = int(sys.argv[1])
time.sleep(0.02 + part % 5 * 0.01)
out = pathlib.Path("OUTPUT_PATH")
(out / "sums").mkdir()
for number in range(3):
    (out / "sums" / f"{number}.txt").write_text(hashlib.sha256(f"{part}.{number}".encode()).hexdigest() * 50)
print("part", part, "is over")
"""
#: Seconds between two kills, and that a killed role stays away.
PAUSE, AWAY = (0.5, 2.5), (0.0, 2.0)
#: Most seconds until the cluster works again.
RECOVERS = 90.0
ROLES = ("master_node", "ftp_node", *NODES)


@attrs.define
class Kill:
    """One role that was killed, and the seconds until it was back and the cluster worked."""

    job: int
    role: str
    away: float
    recovered: float = 0.0


@attrs.define
class Chaos:
    """Kills roles of a cluster while a job runs."""

    cluster: Cluster
    seed: int
    kills: list[Kill] = attrs.field(factory=list)
    _random: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def run(self, folder: Path, parts: int, job: int, most: int) -> None:
        """A job of *parts* parts, with at most *most* kills; what is to be true at its end."""
        cluster, name = self.cluster, f"chaos-{self.seed}-{job}"
        submit = cluster.spawn("submit", folder, "-n", parts, "--process-id", name, "--json", "--lost-retries", 100)
        end, killed = time.monotonic() + self._random.uniform(*PAUSE), 0
        while submit.running and killed < most:
            if time.monotonic() < end:
                time.sleep(0.02)  # the moment of the next kill is part of what is tested
                continue
            self._kill(job)
            killed += 1
            end = time.monotonic() + self._random.uniform(*PAUSE)
        ran = submit.wait(300).ok()
        status = ran.json
        assert status["parts"] == {**dict.fromkeys(status["parts"], 0), "total": parts, "done": parts}
        assert sum(status["nodes"].values()) == parts

    def _kill(self, job: int) -> None:
        role = self._random.choice(ROLES)
        kill = Kill(job, role, self._random.uniform(*AWAY))
        began = time.monotonic()
        self.cluster.roles[role].kill()
        time.sleep(kill.away)
        self.cluster.start_again(role)
        if role in NODES:
            until(lambda: self.cluster.node_states()[role]["state"] == "live", RECOVERS)
        else:
            until(lambda: self.cluster.cli("nodes").code == 0, RECOVERS)
        kill.recovered = time.monotonic() - began
        self.kills.append(kill)


def outputs(cluster: Cluster, name: str) -> dict[str, bytes | None]:
    """What came home of a job's parts, with the job's name taken out of the paths."""
    home = tree(cluster.here / name)
    return {path.replace(name, "job"): data for path, data in home.items() if not path.startswith(".")}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "cluster")
    try:
        yield made.start()
    finally:
        made.close()


def survives(cluster: Cluster, folder: Path, seed: int, jobs: int, parts: int, most: int) -> Chaos:
    """Run jobs among kills, and one without first; all outputs have to be equal."""
    cluster.submit(folder, "-n", parts, "--process-id", "calm").ok()
    calm = outputs(cluster, "calm")
    assert sum(path.endswith(".txt") for path in calm) == 3 * parts
    chaos = Chaos(cluster, seed)
    for job in range(1, jobs + 1):
        chaos.run(folder, parts, job, most)
        assert outputs(cluster, f"chaos-{seed}-{job}") == calm
        until(lambda: not cluster.parts(), RECOVERS, what="every process of a part has ended")
    assert cluster.leftovers() == []
    return chaos


def test_a_job_survives_the_death_of_any_role(cluster: Cluster, tmp_path: Path) -> None:
    chaos = survives(cluster, program(tmp_path / "work", WORK), seed=1, jobs=1, parts=150, most=4)
    assert chaos.kills


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_twenty_jobs_survive_whatever_is_killed(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed, jobs, parts = 20, 20, 200
    chaos = survives(cluster, program(tmp_path / "work", WORK), seed, jobs, parts, most=6)
    with capsys.disabled():
        print(f"\nchaos, seed {seed}: {jobs} jobs, {jobs * parts} parts submitted, {jobs * parts} parts done,")
        print("outputs byte-equal to those of a calm run, 0 duplicates visible, 0 orphan processes")
        print(f"{'killed':<14}{'times':>6}{'seconds until the cluster worked again':>42}")
        for role in ROLES:
            took = sorted(kill.recovered - kill.away for kill in chaos.kills if kill.role == role)
            if took:
                print(f"{role:<14}{len(took):>6}   median {took[len(took) // 2]:5.1f}, longest {took[-1]:5.1f}")
