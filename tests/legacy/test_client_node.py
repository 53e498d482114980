"""CLIENT_NODE against a real cluster: what its methods give, and what they raise where the old ones hung."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from DISCOMPUTIFY.CLIENT_NODE import client_node
from DISCOMPUTIFY.CLIENT_NODE.client_node import CLIENT_NODE
from discomputify_core.client import contact
from discomputify_core.errors import (
    BadConf,
    BadInput,
    ChannelClosed,
    JobExists,
    JobFailed,
    NoSuchJob,
    NoSuchTree,
    Unreachable,
)

from ..e2e.cluster_kit import NODES, program, until
from .legacy_kit import OldCluster

WAITS = """
from DISCOMPUTIFY.BASE_PROGRAM.base_program import *
UTILITY.set_params(sys.argv)
UTILITY.open_file(f"begun.txt", "w").close()
open(os.path.join({folder!r}, str(UTILITY.part())), "w").write(str(os.getpid()))
while not os.path.exists(os.path.join({folder!r}, "go")) :
    time.sleep(0.01)
"""
QUICK = "import sys; open('OUTPUT_PATH/n', 'w').write(sys.argv[1])"


def waits(folder: Path) -> str:
    """A main.py that goes on until *folder* holds ``go``."""
    folder.mkdir()
    return WAITS.format(folder=str(folder))


def begun(folder: Path, parts: int) -> list[int]:
    """The processes of all parts, as soon as they run."""
    until(lambda: len([each for each in folder.iterdir() if each.read_text()]) == parts, 30.0)
    return [int(each.read_text()) for each in folder.iterdir()]


def of_each(value: object) -> dict[str, object]:
    return dict.fromkeys(NODES, value)


def test_a_job_that_nobody_knows(client: CLIENT_NODE) -> None:
    client.set_process_id("l-unknown")
    assert client.get_process_status() == of_each(False)
    assert client.stop_computing() == of_each("DO_NOT_EXIST")
    assert client.clear_data() == {"PROCESS_ID": "l-unknown"}
    with pytest.raises(
        NoSuchJob, match=r"'l-unknown', so there is nothing to download: start_computing\(\) was not called"
    ):
        client.download_files()
    with pytest.raises(NoSuchTree, match=r"Nothing was uploaded for 'l-unknown'.*upload_files"):
        client.start_computing()


def test_process_ids(client: CLIENT_NODE) -> None:
    first = client.get_process_id()  # of itself
    assert abs(int(first) / 1e6 - time.time()) < 60
    assert client.generate_process_id() == client.get_process_id() != first
    client.set_process_id("l-mine")
    assert client.get_process_id() == "l-mine"
    for bad in ("", "../up", "a b", 17):
        with pytest.raises(BadInput):
            client.set_process_id(bad)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"not int: 17\. Write for example: set_process_id\(str"):
        client.set_process_id(17)  # type: ignore[arg-type]
    assert client.get_process_id() == "l-mine"


def test_the_conf_is_a_dict(client: CLIENT_NODE, old_cluster: OldCluster) -> None:
    assert client.CONF["COMPUTING_PORT"] == old_cluster.common["MASTER_PORT"]
    assert client.CONF["ENCRYPTION_KEY"] == old_cluster.common["ENCRYPTION_KEY"]
    assert client.CONF["MASTER_PORT"] == 11111  # not in the file


def test_a_job_while_it_runs(client: CLIENT_NODE, here: Path, old_cluster: OldCluster) -> None:
    program(here / "qwe", waits(here / "signs"))
    client.set_process_id("l-running")
    client.upload_files("qwe")
    assert client.get_process_status() == of_each(False)
    assert client.start_computing() == of_each("STARTED")
    processes = begun(here / "signs", 3)
    assert client.get_process_status() == of_each(True)
    assert client.start_computing() == of_each("ALREADY_RUNNING")
    with pytest.raises(JobExists, match=r"'l-running' has not ended yet.* stop_computing\(\)"):
        client.upload_files("qwe")
    assert client.stop_computing() == of_each("TERMINATED")
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    assert client.get_process_status() == of_each(False)
    assert client.stop_computing() == of_each("DO_NOT_EXIST")
    with pytest.raises(JobFailed, match=r"^'l-running' is stopped: stopped by .*\. Outputs of 0 of its 3 parts are "):
        client.download_files()


def test_a_running_job_is_cleared_after_it_was_stopped(client: CLIENT_NODE, here: Path) -> None:
    program(here / "qwe", waits(here / "signs"))
    client.upload_files(here / "qwe")
    client.start_computing()
    processes = begun(here / "signs", 3)
    assert client.clear_data() == {"PROCESS_ID": client.get_process_id()}
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    with pytest.raises(NoSuchTree):
        client.start_computing()


def test_what_was_never_started_is_cleared_too(client: CLIENT_NODE, here: Path) -> None:
    program(here / "qwe", QUICK)
    client.upload_files("qwe")
    client.clear_data()
    with pytest.raises(NoSuchTree):
        client.start_computing()


def test_downloading_waits_and_replaces_what_was_fetched_and_nothing_else(
    client: CLIENT_NODE, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client_node, "is_terminal", lambda stream: stream is sys.stderr)
    program(here / "qwe", waits(here / "signs"))
    client.set_process_id("l-twice")
    client.upload_files("qwe")
    client.start_computing()
    begun(here / "signs", 3)
    threading.Timer(0.3, (here / "signs" / "go").touch).start()
    client.download_files()
    home = here / "l-twice"
    assert capsys.readouterr().err == "'l-twice' is not done yet (0 of 3 parts); waiting for it…\n"
    first = home / "l-twice_1_3" / "OUTPUT_PATH" / "begun.txt"
    assert first.exists()
    first.write_text("spoilt", encoding="utf-8")
    (home / "mine.txt").touch()
    client.download_files()
    assert first.read_bytes() == b""
    assert capsys.readouterr().err == ""  # it had ended
    program(here / "qwe", QUICK)
    client.upload_files("qwe")
    client.start_computing()
    client.download_files()
    found = {each.relative_to(home).as_posix() for each in home.rglob("*") if each.is_file() and each.name[0] != "."}
    assert found == {"mine.txt", *(f"l-twice_{part}_3/OUTPUT_PATH/n" for part in (1, 2, 3))}
    client.start_computing()  # what was uploaded, once more
    client.download_files()


def test_a_folder_that_is_not_ours_is_left_alone(client: CLIENT_NODE, here: Path) -> None:
    program(here / "qwe", QUICK)
    client.set_process_id("qwe")
    client.upload_files("qwe")
    client.start_computing()
    with pytest.raises(BadInput, match="'qwe' exists and does not hold outputs"):
        client.download_files()
    assert [each.name for each in (here / "qwe").iterdir()] == ["main.py"]


def test_done_parts_come_home_before_a_failure_is_told(client: CLIENT_NODE, here: Path) -> None:
    program(here / "qwe", QUICK + "; sys.exit(3 if sys.argv[1] == '2' else 0)")
    client.set_process_id("l-failed")
    client.upload_files("qwe")
    client.start_computing()
    with pytest.raises(JobFailed, match=r"'l-failed' is failed: .*exit code 3.* Outputs of 2 of its 3 parts") as raised:
        client.download_files()
    assert raised.value.fields["state"] == "failed"
    names = sorted(each.name for each in (here / "l-failed").iterdir() if each.name[0] != ".")
    assert names == ["l-failed_1_3", "l-failed_3_3"]


def test_a_folder_without_a_program_removes_nothing(client: CLIENT_NODE, here: Path) -> None:
    program(here / "qwe", QUICK)
    client.upload_files("qwe")
    client.start_computing()
    client.download_files()
    (here / "empty").mkdir()
    for bad in ("empty", "missing"):
        with pytest.raises(BadInput):
            client.upload_files(bad)
    client.download_files()  # it is still there


def test_the_conf_can_ask_for_more_parts(here: Path) -> None:
    conf = here / "discomputify_conf.json"
    conf.write_text(conf.read_text(encoding="utf-8").replace("{", '{"LEGACY_PARTS": 7,', 1), encoding="utf-8")
    program(here / "qwe", QUICK)
    with CLIENT_NODE() as client:
        client.upload_files("qwe")
        assert client.start_computing() == of_each("STARTED")
        client.download_files()
        home = here / client.get_process_id()
        read = [(home / f"{home.name}_{part}_7/OUTPUT_PATH/n").read_text(encoding="utf-8") for part in range(1, 8)]
        assert read == [str(part) for part in range(1, 8)]


# --- nothing answers ----------------------------------------------------------------------------------


def test_without_nodes_starting_says_so_and_nodes_that_join_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(OldCluster(tmp_path, NODES[1:])) as cluster:
        cluster.start_store()
        cluster.start_master()
        monkeypatch.chdir(cluster.client)
        program(cluster.client / "qwe", QUICK)
        with CLIENT_NODE() as client:
            client.upload_files("qwe")
            with monkeypatch.context() as short:
                short.setattr(client_node, "JOIN", 0.5)
                with pytest.raises(Unreachable, match=r"No computing node is connected .*run computing_node"):
                    client.start_computing()
            assert client.get_process_status() == {}
            monkeypatch.setattr(client_node, "JOIN", 30.0)
            monkeypatch.setattr(client_node, "OTHERS", 30.0)
            first, *others = cluster.nodes
            cluster.start_node(first)
            until(client.get_node_load)
            for name in others:
                cluster.run("computing_node", cluster.write_conf(name, COMP_NODE=name))
            assert client.start_computing() == dict.fromkeys(cluster.nodes, "STARTED")
            client.download_files()


def test_a_named_node_that_never_joins_does_not_hold_a_start_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(OldCluster(tmp_path, NODES[1:])) as cluster:
        cluster.start_store()
        cluster.start_master()
        cluster.start_node(NODES[1])
        monkeypatch.chdir(cluster.client)
        monkeypatch.setattr(client_node, "JOIN", 30.0)
        monkeypatch.setattr(client_node, "OTHERS", 0.3)
        program(cluster.client / "qwe", QUICK)
        with CLIENT_NODE() as client:
            client.upload_files("qwe")
            assert client.start_computing() == {NODES[1]: "STARTED"}
            client.download_files()


def test_a_cluster_that_is_not_there_is_told_soon(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact, "FIRST_CONTACT", 1.0)
    conf = here / "discomputify_conf.json"
    conf.write_text(conf.read_text(encoding="utf-8").replace('"127.0.0.6"', '"127.0.0.9"'), encoding="utf-8")
    with CLIENT_NODE() as client, pytest.raises(Unreachable, match=r"127\.0\.0\.9"):
        client.get_node_load()


def test_without_a_conf_or_with_a_bad_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    before = threading.active_count()
    with pytest.raises(BadInput, match="No conf found"):
        CLIENT_NODE()
    (tmp_path / "discomputify_conf.json").write_text('{"MASTER_PORT": "x"}', encoding="utf-8")
    with pytest.raises(BadConf, match="MASTER_PORT"):
        CLIENT_NODE()
    assert threading.active_count() == before


# --- closing ------------------------------------------------------------------------------------------


def client_threads() -> int:
    return sum(thread.name == "discomputify-client" for thread in threading.enumerate())


def test_a_closed_client_can_be_closed_again_and_says_that_it_is(client: CLIENT_NODE) -> None:
    client.get_node_load()
    client.close()
    client.close()
    with pytest.raises(ChannelClosed):
        client.get_node_load()


def test_a_client_that_nobody_has_any_more_leaves_nothing(here: Path) -> None:
    before = client_threads()
    client = CLIENT_NODE()
    client.get_node_load()
    assert client_threads() == before + 1
    del client
    gc.collect()
    assert client_threads() == before


def test_a_client_that_is_collected_in_a_loop_is_closed_beside_it(here: Path) -> None:
    before = client_threads()
    client = CLIENT_NODE()
    client.get_node_load()
    held = [client]
    # Its own loop, which closing waits for.
    client._client._loop.call_soon_threadsafe(held.clear)
    del client
    until(lambda: client_threads() == before, 20.0)


def test_a_script_that_never_closes_ends_quietly(old_cluster: OldCluster) -> None:
    source = """
from DISCOMPUTIFY.CLIENT_NODE.client_node import CLIENT_NODE
CLIENT_NODE_OBJ = CLIENT_NODE()
CLIENT_NODE_OBJ.set_process_id("l-ends")
CLIENT_NODE_OBJ.upload_files("ends")
print(len(CLIENT_NODE_OBJ.get_node_load()))
"""
    program(old_cluster.client / "ends", QUICK)
    ran = old_cluster.script(source, None, "-W", "error").wait(30.0).ok()
    assert (ran.out, ran.err) == ("3\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_child_ends_too(old_cluster: OldCluster) -> None:
    source = """
from DISCOMPUTIFY.CLIENT_NODE.client_node import CLIENT_NODE
import os, sys
CLIENT_NODE_OBJ = CLIENT_NODE()
CLIENT_NODE_OBJ.get_node_load()
CHILD = os.fork()
if CHILD == 0 :
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(CHILD, 0)[1]), len(CLIENT_NODE_OBJ.get_node_load()))
"""
    ran = old_cluster.script(source, None, "-W", "ignore").wait(30.0).ok()
    assert ran.out == "7 3\n"
