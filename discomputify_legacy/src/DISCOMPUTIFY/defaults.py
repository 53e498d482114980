"""What the keys of an old conf mean where nobody wrote them. Plain values: parts of old programs import this.

Not here: keys that came later, and the keys of the cluster, which have no default.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from typing import Any


def default_conf() -> dict[str, Any]:
    """A conf as old code reads it, with every key at its default; the caller's own."""
    return {
        "RECV_BUFFER": 8388608,
        "TRANSMISSION_BUFFER": 1048576,
        "TIMEOUT": 60.0,
        "RECV_CHUNK_SIZE": 2097152,
        "TRANSMISSION_CHUNK_SIZE": 2097152,
        "DEBUG1": False,
        "DEBUG2": False,
        "INPUT_PATH": "INPUT_PATH",
        "OUTPUT_PATH": "OUTPUT_PATH",
        "FTP_NODE": "127.0.0.1",
        "FTP_PORT": 11112,
        "QUERY_NODE": "127.0.0.1",
        "QUERY_PORT": 11113,
        "MASTER_NODE": "127.0.0.1",
        "MASTER_PORT": 11111,
        "SHARED_MEM_NODE": "127.0.0.1",
        "SHARED_MEM_PORT": 11114,
        "COMPUTING_PORT": 11111,
        "COMPUTING_NODES": [],
        "COMP_NODE": "",
        "FTP_BASE_PATH": "COMPUTING_DATA",
    }
