"""A cluster as users of the old package start it: their conf, their commands, their scripts.

Here: confs, processes, the example of the old README (written anew). Not here: what is expected of any of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..e2e.cluster_kit import MASTER, QUERY, STORE, Cluster, Process

PROCESS_ID = "1684340918413322"

SCRIPT = f"""
from DISCOMPUTIFY.CLIENT_NODE.client_node import CLIENT_NODE
import time

if __name__ == "__main__" :
    CLIENT_NODE_OBJ = CLIENT_NODE()
    CLIENT_NODE_OBJ.set_process_id("{PROCESS_ID}")

    print("UPLOADING")
    CLIENT_NODE_OBJ.upload_files("qwe")

    print("STARTING")
    print(CLIENT_NODE_OBJ.start_computing())

    time.sleep(1)

    print("LOAD")
    print(CLIENT_NODE_OBJ.get_node_load())
    print("STATUS")
    print(CLIENT_NODE_OBJ.get_process_status())

    #print("STOPPING")
    #CLIENT_NODE_OBJ.stop_computing()

    print("STATUS")
    print(CLIENT_NODE_OBJ.get_process_status())

    print("DOWNLOADING")
    CLIENT_NODE_OBJ.download_files()
    print("DOWNLOADED")

    #print("CLEARING")
    #print(CLIENT_NODE_OBJ.clear_data())
"""

MAIN = """
from DISCOMPUTIFY.BASE_PROGRAM.base_program import *

if __name__ == "__main__" :
    UTILITY.load_conf()
    UTILITY.set_params(sys.argv)
    with UTILITY.open_file("numbers.txt", "r") as FILE :
        NUMBERS = [int(_) for _ in FILE]
    time.sleep(2.5)
    with UTILITY.open_file("sum.txt", "w") as FILE :
        json.dump([UTILITY.part(), UTILITY.total_parts(), sum(NUMBERS[UTILITY.part()-1::UTILITY.total_parts()])], FILE)
    CONF = json.load(open("discomputify_conf.json", "r"))
    KEYS = [_ for _ in CONF if "KEY" in _]
    print(UTILITY().read_from_output("sum.txt").read(), KEYS, os.path.isfile("main.py"))
"""


class OldCluster(Cluster):
    """A cluster with the old conf, whose roles are started by ``python3 -m DISCOMPUTIFY ROLE`` in the conf's folder."""

    def write_conf(self, name: str, **keys: Any) -> Path:
        """A conf with every key that the old package knew; SLOTS, a new one, makes room for more than one part."""
        folder = self.folder / "machines" / name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "discomputify_conf.json"
        path.write_text(json.dumps({**self._old_keys(), **keys}, indent=4), encoding="utf-8")
        path.chmod(0o600)
        return path

    def _old_keys(self) -> dict[str, Any]:
        port = self.common["MASTER_PORT"]
        return {
            "RECV_BUFFER": 8 * 1024 * 1024,
            "TRANSMISSION_BUFFER": 1024 * 1024,
            "ENCRYPTION_KEY": self.common["ENCRYPTION_KEY"],
            "DECRYPTION_KEY": self.common["DECRYPTION_KEY"],
            "TIMEOUT": 60,
            "RECV_CHUNK_SIZE": 2 * 1024 * 1024,
            "TRANSMISSION_CHUNK_SIZE": 2 * 1024 * 1024,
            "DEBUG1": False,
            "DEBUG2": False,
            "INPUT_PATH": "INPUT_PATH",
            "OUTPUT_PATH": "OUTPUT_PATH",
            "FTP_NODE": STORE,
            "FTP_PORT": port,
            "QUERY_NODE": QUERY,
            "QUERY_PORT": port,
            "MASTER_NODE": MASTER,
            "SHARED_MEM_NODE": "127.0.0.7",
            "SHARED_MEM_PORT": port,
            "COMPUTING_PORT": port,
            "FTP_BASE_PATH": "COMPUTING_DATA",
            "COMPUTING_NODES": list(self.nodes),
            "COMP_NODE": self.nodes[0],
            "SLOTS": 3,
        }

    def run(self, role: str, conf: Path, *options: str, env: Mapping[str, str] | None = None) -> Process:
        """Start ``python3 -m DISCOMPUTIFY ROLE`` where *conf* is."""
        return self._python(conf.parent, "-m", "DISCOMPUTIFY", role, *options, env=env)

    def script(self, source: str, folder: Path | None = None, *options: str) -> Process:
        """Start a script of *source* in *folder* (the client's)."""
        folder = folder or self.client
        path = folder / "script.py"
        path.write_text(source, encoding="utf-8")
        return self._python(folder, *options, str(path))

    @property
    def client(self) -> Path:
        """The folder of the client's conf."""
        assert self.conf is not None
        return self.conf.parent

    def _python(self, folder: Path, *args: str, env: Mapping[str, str] | None = None) -> Process:
        process = Process((sys.executable, *args), self.environment(env), folder)
        self._processes.append(process)
        return process
