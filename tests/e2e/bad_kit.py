"""What all tests of bad input share: a cluster to annoy, and what must be true of it after every case.

Here: checks that hold for any bad input. Not here: the cases (test_bad_*.py).
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from discomputify_core.cli.main import main
from discomputify_core.client.client import Client
from discomputify_core.edge.connect import Connection, hello
from discomputify_core.edge.opening import Loaded, open_conf
from discomputify_testkit.running import run

from .cluster_kit import NODES, Cluster, Ran

NODE = NODES[0]
#: A program that does what it should.
GOOD = "import os, sys\nopen(os.path.join('OUTPUT_PATH', 'part'), 'w').write(sys.argv[1])\n"

_ROOT = re.compile(r"^warning: running as root.*\n", re.MULTILINE)


def told(ran: Ran, code: int, *words: str, lines: int = 1) -> str:
    """What a refused command said, after making sure that it exited with *code* and said *words* in few *lines*."""
    said = _ROOT.sub("", ran.err)
    shown = f"exit {ran.code}\n--- stdout\n{ran.out}\n--- stderr\n{ran.err}"
    assert ran.code == code, shown
    assert ran.out == "", shown
    assert "Traceback" not in said, shown
    assert "bug in discomputify" not in said, shown
    assert 1 <= len(said.splitlines()) <= lines, shown
    for word in words:
        assert word in said, f"{word!r} is not in\n{shown}"
    return said


def inside(conf: Path | None, *args: object) -> Ran:
    """As ``discomputify --conf CONF ARGS`` in a process of its own, but in this one: many small cases take no time."""
    out, err = io.BytesIO(), io.BytesIO()
    with (
        contextlib.redirect_stdout(io.TextIOWrapper(out, encoding="utf-8", write_through=True)),
        contextlib.redirect_stderr(io.TextIOWrapper(err, encoding="utf-8", write_through=True)),
    ):
        code = main(["--conf", str(conf), *map(str, args)])
        return Ran(code, out.getvalue().decode(), err.getvalue().decode())


@contextlib.contextmanager
def standing(folder: Path, *, node: bool = True, **conf: Any) -> Iterator[Cluster]:
    """A cluster of one store, one master and (with *node*) one computing node of two slots, ended afterwards."""
    cluster = Cluster(folder, (NODE,) if node else (), **conf)
    try:
        yield cluster.start()
    finally:
        cluster.close()


def opened(cluster: Cluster) -> Loaded:
    """The client's conf, for peers in this process."""
    loaded = open_conf(cluster.conf, ("transport", "store"))
    assert loaded is not None
    return loaded


def check_working(cluster: Cluster, folder: Path) -> None:
    """The good program in *folder* still runs there; afterwards the cluster knows no job."""

    async def work() -> None:
        async with Client(opened(cluster)) as client:
            submitted = await client.submit(folder, 2, process_id="still-works")
            ended = await client.wait("still-works", 20.0)
            assert ended.parts.done == 2, ended.reason
            assert submitted.status.process_id in [job.process_id for job in await client.jobs()]
            for job in await client.jobs():
                await client.clear(job.process_id)

    run(work(), deadline=60.0)


def check_serving(cluster: Cluster, node: bool = True) -> None:
    """Master, store, query service and node answer, nothing was left behind, and nobody logged a bug."""

    async def ask() -> None:
        async with Client(opened(cluster)) as client:
            states = {each.name: each.state for each in await client.nodes() if each.state != "refused"}
            assert states == ({NODE: "live"} if node else {}), states
        connection = Connection(opened(cluster), hello("client", "check"))
        try:
            for link in connection.store_links():
                assert (await link.call("store.status", timeout=10.0)).data
        finally:
            await connection.close()

    run(ask())
    assert cluster.leftovers() == []
    for name, role in cluster.roles.items():
        assert role.running, name
        assert "Traceback" not in role.err, role.err
        assert " ERROR " not in role.err, role.err
