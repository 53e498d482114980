"""The class CLIENT_NODE: what old scripts call, with the answers they know, over core's client.

Not here: how a cluster is asked (core's client), where the conf is (conf.py), when connections are closed (closing.py).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from DISCOMPUTIFY.closing import closed_in_time
from DISCOMPUTIFY.conf import opened
from discomputify_core.cli.output import is_terminal, note
from discomputify_core.client import BlockingClient
from discomputify_core.edge.clock import new_process_id
from discomputify_core.edge.connect import master_address
from discomputify_core.edge.trees import check_program
from discomputify_core.errors import BadInput, JobExists, JobFailed, NoSuchJob, NoSuchTree, Unreachable
from discomputify_core.model.ids import check_process_id
from discomputify_core.model.job import JobState, JobStatus
from discomputify_core.model.node import NodeStatus

STARTED, ALREADY_RUNNING = "STARTED", "ALREADY_RUNNING"
TERMINATED, DO_NOT_EXIST = "TERMINATED", "DO_NOT_EXIST"

#: Seconds for the first node to join a cluster that is being started just now, then for the others that COMPUTING_NODES
#: names and the master has never seen, and between two looks.
JOIN, OTHERS, LOOK = 5.0, 2.0, 0.1
#: Seconds for the processes of a stopped job to end.
STOP = 30.0


class CLIENT_NODE:
    """A client of the cluster whose conf is in the current folder. Also a context manager.

    All methods raise errors of ``discomputify_core.errors``: ``Unreachable`` where nothing answers, ``BadInput`` for
    a PROCESS_ID that cannot be used.

    Raises:
        BadInput: there is no conf.
        BadConf: it cannot be used.
    """

    def __init__(self) -> None:
        #: The conf, as a dict of its keys.
        self.CONF: dict[str, Any]
        loaded, self.CONF = opened()
        self._conf = loaded.conf
        self._client = BlockingClient(loaded.path)
        self._closing = closed_in_time(self, self._client)

    def __enter__(self) -> CLIENT_NODE:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; jobs go on. Happens by itself when the program ends. Idempotent."""
        self._closing.detach()
        self._client.close()

    # --- which job ----------------------------------------------------------------------------------

    def generate_process_id(self) -> str:
        """Take a new PROCESS_ID, microseconds since the epoch, and return it."""
        self.PROCESS_ID = new_process_id()
        return self.PROCESS_ID

    def get_process_id(self) -> str:
        """The PROCESS_ID; a new one if there was none yet."""
        if not hasattr(self, "PROCESS_ID"):
            self.generate_process_id()
        return self.PROCESS_ID

    def set_process_id(self, process_id: str) -> None:
        """Take *process_id*: everything is about this job from now on.

        Raises:
            BadInput: it cannot be used.
        """
        if not isinstance(process_id, str):
            raise BadInput(
                f"A PROCESS_ID is text, not {type(process_id).__name__}: {process_id!r:.80}. "
                f"Write for example: set_process_id(str(…))."
            )
        self.PROCESS_ID = str(check_process_id(process_id))

    # --- its life -----------------------------------------------------------------------------------

    def upload_files(self, path: str | os.PathLike[str]) -> None:
        """Upload a program: the folder that holds main.py. A job of this id that has ended is removed first.

        Raises:
            BadInput: the folder is no program, or holds what may not be uploaded.
            JobExists: the job runs.
        """
        folder, process_id = Path(path), self.get_process_id()
        check_program(folder)  # before anything is removed for it
        status = self._status()
        if status is not None and not status.ended:
            raise JobExists(
                f"'{process_id}' has not ended yet, so its program cannot be replaced. Wait for it (download_files() "
                f"does), end it with stop_computing(), or choose another PROCESS_ID; then upload again.",
                process_id=process_id,
            )
        if status is not None:
            self._client.clear(process_id)
        self._client.upload(folder, process_id)

    def start_computing(self) -> dict[str, str]:
        """Start what was uploaded, again if it has ended: a part on each node, or LEGACY_PARTS parts wherever they fit.

        Nodes that COMPUTING_NODES names and that have not joined yet are waited for, for two seconds.

        Returns:
            By node, "STARTED", or "ALREADY_RUNNING" for a job that has not ended.

        Raises:
            NoSuchTree: nothing was uploaded.
            Unreachable: no computing node is there, not even after a few seconds.
        """
        process_id = self.get_process_id()
        if self._running():
            return dict.fromkeys(self._busy_names(), ALREADY_RUNNING)
        nodes = self._joined()
        parts = self._conf.legacy_parts
        try:
            self._client.start(process_id, parts or len(nodes), per_node=0 if parts else 1, replace=True)
        except JobExists:  # somebody else was quicker
            return dict.fromkeys(nodes, ALREADY_RUNNING)
        except NoSuchTree as error:
            raise NoSuchTree(
                f"Nothing was uploaded for '{process_id}', so there is nothing to start. "
                f"Call upload_files(FOLDER) first."
            ) from error
        return dict.fromkeys(nodes, STARTED)

    def get_node_load(self) -> dict[str, dict[str, float]]:
        """By node, CPU_LOAD and MEM_LOAD in per cent, MEM_USED in GB."""
        return {
            node.name: {
                "CPU_LOAD": node.load.CPU_LOAD,
                "MEM_LOAD": node.load.MEM_LOAD,
                "MEM_USED": node.load.MEM_USED,
            }
            for node in self._client.nodes()
            if node.state == "live"
        }

    def get_process_status(self) -> dict[str, bool]:
        """By node, whether the job runs: true until it has ended, false also for one that nobody knows."""
        if self._running():
            return dict.fromkeys(self._busy_names(), True)
        return dict.fromkeys(_live(self._client.nodes()), False)

    def stop_computing(self) -> dict[str, str]:
        """End the job; returns when its processes have ended.

        Returns:
            By node, "TERMINATED", or "DO_NOT_EXIST" where no job ran.

        Raises:
            Unreachable: a node did not end its part in time.
        """
        if not self._running():
            return dict.fromkeys(_live(self._client.nodes()), DO_NOT_EXIST)
        self._stop()
        return dict.fromkeys(_live(self._client.nodes()), TERMINATED)

    def download_files(self) -> None:
        """Wait until the job has ended, and bring its outputs: ``PROCESS_ID/PROCESS_ID_PART_TOTAL/OUTPUT_PATH/``.

        What an earlier download brought there is replaced; anything else stays.

        Raises:
            NoSuchJob: it was not started.
            JobFailed: it failed or was stopped; outputs of the parts that were done are there.
            BadInput: the folder PROCESS_ID holds something else.
            DiskError: it cannot be written.
        """
        process_id = self.get_process_id()
        status = self._status()
        if status is None:
            raise NoSuchJob(
                f"The master knows no job '{process_id}', so there is nothing to download: start_computing() was not "
                f"called, clear_data() removed it, or the master was started anew since.",
                process_id=process_id,
            )
        if not status.ended and is_terminal(sys.stderr):
            note(f"'{process_id}' is not done yet ({status.parts.done} of {status.parts.total} parts); waiting for it…")
        self._client.fetch(process_id, follow=True, below=status.output_path, logs=False)
        status = self._client.status(process_id)
        if status.state is not JobState.DONE:
            raise JobFailed(
                f"'{process_id}' is {status.state.value}: {status.reason.rstrip('.')}. Outputs of {status.parts.done} "
                f"of its {status.parts.total} parts are in the folder '{process_id}'.",
                process_id=process_id,
                state=status.state.value,
            )

    def clear_data(self) -> dict[str, str]:
        """Remove the job and all that is kept of it; one that runs is stopped first. No error if there is nothing.

        Raises:
            Unreachable: a node did not end its part in time.
        """
        process_id = self.get_process_id()
        if self._running():
            self._stop()
        try:
            self._client.clear(process_id)
        except NoSuchJob:
            self._client.discard(process_id)
        return {"PROCESS_ID": process_id}

    # --- inside -------------------------------------------------------------------------------------

    def _status(self) -> JobStatus | None:
        try:
            return self._client.status(self.get_process_id())
        except NoSuchJob:
            return None

    def _running(self) -> bool:
        status = self._status()
        return status is not None and not status.ended

    def _busy_names(self) -> list[str]:
        """Nodes to be told as busy while a job runs: the live ones, or all where none is, for it waits for them."""
        nodes = self._client.nodes()
        return _live(nodes) or [node.name for node in nodes]

    def _joined(self) -> list[str]:
        """The live nodes, at least one.

        People start everything at once: the first node is waited for, and after it the others that COMPUTING_NODES
        names, since a part for each was always what they got. Where the conf says how many parts, the first will do.
        """
        end, some = time.monotonic() + JOIN, False
        while True:
            nodes = self._client.nodes()
            live = _live(nodes)
            if live and (self._conf.legacy_parts or not any(node.state == "missing" for node in nodes)):
                return live
            if live and not some:
                some, end = True, time.monotonic() + OTHERS
            if time.monotonic() >= end:
                break
            time.sleep(LOOK)
        if not live:
            raise Unreachable(
                f"No computing node is connected to the master at {master_address(self._conf)}, so "
                f"'{self.get_process_id()}' cannot be started. Start one (discomputify run computing_node), then call "
                f"start_computing() again."
            )
        return live

    def _stop(self) -> None:
        process_id = self.get_process_id()
        if not self._client.stop(process_id, STOP).ended:
            raise Unreachable(
                f"'{process_id}' was told to stop, but not all of its processes have ended within {STOP:.0f} s. "
                f"See: discomputify why {process_id}"
            )


def _live(nodes: tuple[NodeStatus, ...]) -> list[str]:
    return [node.name for node in nodes if node.state == "live"]
