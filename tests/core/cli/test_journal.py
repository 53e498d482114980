"""``discomputify journal``: what the master of this machine has written down."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.cluster.machine import Cluster
from discomputify_core.edge.connect import master_address
from discomputify_core.model import events as ev
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobSpec
from discomputify_core.plugins.fifo import Fifo
from discomputify_core.roles.master.journal import folder as journals
from discomputify_core.roles.master.journal import reading
from discomputify_core.roles.master.journal.journal import Journal
from discomputify_testkit.running import run

Cli = Callable[..., Any]


@pytest.fixture
def conf(running_cluster: Any, folder: Path) -> str:
    """A conf whose MASTER_PATH is in the current folder."""
    place = folder / "changed.json"
    place.touch(0o600)
    found = json.loads(running_cluster.conf.read_text(encoding="utf-8"))
    place.write_text(json.dumps({**found, "MASTER_PATH": str(folder / "master")}), encoding="utf-8")
    return str(place)


@pytest.fixture
def journal(running_cluster: Any, folder: Path) -> Path:
    """The folder of a journal with two jobs in it."""
    place = journals.place(str(folder / "master"), master_address(running_cluster.loaded.conf))

    async def main() -> None:
        written, cluster = Journal(place), Cluster(Fifo())
        await asyncio.to_thread(written.open)
        written.start(lambda: cluster.state)
        for number in range(2):
            spec = JobSpec(ProcessId(f"job{number}"), "key", 2, "blake3:" + "cd" * 32)
            cluster.handle(ev.JobSubmitted(spec, 1.0), now=number)
            assert cluster.record is not None
            written.append(cluster.record)
        await written.close()

    run(main())
    return place


def test_what_is_there_and_that_it_can_be_read(cli: Cli, conf: str, journal: Path) -> None:
    answer = cli("--conf", conf, "journal", "info")
    assert answer.code == 0
    assert str(journal) in answer.out
    assert "2 jobs, 2 not ended" in answer.out
    facts = cli("--conf", conf, "journal", "info", "--json").json()
    assert (facts["format"], facts["segments"], facts["records"], facts["snapshots"]) == (1, 1, 2, [])
    answer = cli("--conf", conf, "journal", "verify")
    assert (answer.code, "all of which can be read" in answer.out) == (0, True)


def test_damage_is_named(cli: Cli, conf: str, journal: Path) -> None:
    (segment,) = reading.segments(journal)
    data = bytearray(segment.path.read_bytes())
    data[data.index(b"JobSubmitted")] ^= 1
    segment.path.write_bytes(data)
    answer = cli("--conf", conf, "journal", "verify")
    assert answer.code == 1
    assert "record 1 is lost (about 'job0')" in answer.out + answer.err
    found = cli("--conf", conf, "journal", "verify", "--json")
    assert found.code == 1
    assert (found.json()["damage"][0]["first"], list(found.json()["touched"])) == (1, ["job0"])
    assert segment.path.read_bytes() == data, "it reads only"


def test_no_journal(cli: Cli, conf: str) -> None:
    answer = cli("--conf", conf, "journal", "info")
    assert answer.code == 2
    assert "no master with this conf has run" in answer.err
