"""The conf as a value: every key of discomputify_conf.json, its type, default and meaning.

Here: the table of keys and what each may hold. Not here: files, environment, the machine
(edge/conf_file.py), plugin sections' contents (each plugin's own attrs class describes those).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NewType

import attrs

from discomputify_core.model.ids import MAX_PARTS

Port = NewType("Port", int)
"""1 to 65535; in memory, never in a file, also 0 where a free one is to be found."""
Size = NewType("Size", int)
"""Bytes, above 0."""
Count = NewType("Count", int)
"""A whole number above 0."""
Seconds = NewType("Seconds", float)
"""Seconds, above 0."""
Days = NewType("Days", float)
"""Days, above 0."""
Key = NewType("Key", str)
"""32 ASCII characters. Never shown."""
Inside = NewType("Inside", str)
"""A relative path inside a tree."""
Host = NewType("Host", str)
"""A host name or address."""
Place = NewType("Place", str)
"""A folder or file of this machine."""
Name = NewType("Name", str)
"""Name of a plugin."""

CONF_NAME = "discomputify_conf.json"


def key(default: Any = attrs.NOTHING, *, doc: str, secret: bool = False, name: str = "", most: int = 0) -> Any:
    """One key of the conf, or one option of a plugin's options class.

    Args:
        default: its value where it is absent; without one the key must be given.
        doc: its meaning, one sentence.
        secret: never shown: masked in listings, absent from ``repr``.
        name: how it is written in the file, where that is not the attribute's name (in capitals in the conf itself).
        most: the highest number allowed; 0 for no limit of its own.
    """
    extra = {"doc": doc, "secret": secret, "name": name, "most": most}
    if isinstance(default, (dict, list)):
        return attrs.field(factory=type(default), repr=not secret, metadata=extra)
    return attrs.field(default=default, repr=not secret, metadata=extra)


@attrs.frozen(kw_only=True)
class Conf:
    """discomputify_conf.json, read and checked. A key is its attribute in capitals (``MASTER_PORT``)."""

    recv_buffer: Size = key(Size(8388608), doc="Socket receive buffer, bytes.", most=2**31 - 1)
    transmission_buffer: Size = key(Size(1048576), doc="Socket send buffer, bytes.", most=2**31 - 1)
    encryption_key: Key | None = key(None, doc="32 ASCII characters; the peer's DECRYPTION_KEY.", secret=True)
    decryption_key: Key | None = key(None, doc="32 ASCII characters; the peer's ENCRYPTION_KEY.", secret=True)
    timeout: Seconds = key(Seconds(60.0), doc="Seconds of silence after which a connection is closed.", most=31_536_000)
    recv_chunk_size: Size = key(Size(2097152), doc="Bytes per chunk of a file that is received.", most=2**31 - 1)
    transmission_chunk_size: Size = key(Size(2097152), doc="Bytes per chunk of a file that is sent.", most=2**31 - 1)
    debug1: bool = key(False, doc="Log the life cycle of jobs, parts and nodes.")
    debug2: bool = key(False, doc="Log every message.")
    input_path: Inside = key(Inside("INPUT_PATH"), doc="Folder of inputs inside the program directory.")
    output_path: Inside = key(Inside("OUTPUT_PATH"), doc="Folder of outputs inside the program directory.")
    ftp_node: Host = key(Host("127.0.0.1"), doc="Where the store listens.")
    query_node: Host | None = key(None, doc="Where the store's query service listens (default: FTP_NODE).")
    master_node: Host = key(Host("127.0.0.1"), doc="Where the master listens.")
    shared_mem_node: Host | None = key(None, doc="Where the shared-memory service listens (default: MASTER_NODE).")
    ftp_port: Port = key(Port(11112), doc="Port of the store.")
    query_port: Port = key(Port(11113), doc="Port of the query service.")
    master_port: Port | None = key(None, doc="Port of the master (default: COMPUTING_PORT).")
    shared_mem_port: Port = key(Port(11114), doc="Port of the shared-memory service.")
    computing_port: Port = key(Port(11111), doc="Port of computing nodes; in old confs also the master's.")
    ftp_base_path: Place = key(Place("COMPUTING_DATA"), doc="Folder of the store, relative to the conf's folder.")
    computing_nodes: tuple[Host, ...] = key((), doc="Names or addresses of the nodes that are expected.")
    comp_node: Host | None = key(None, doc="Address and name of this machine's computing node.")
    transport: Name = key(Name("tcp"), doc="Transport plugin.")
    store: Name = key(Name("ftp"), doc="Store plugin.")
    shared_mem: Name | None = key(None, doc="Shared-memory plugin (default: none).")
    shared_arrays_limit: Size | None = key(
        None, doc="Bytes of large shared arrays that a job may keep on this node (default: a quarter of its memory)."
    )
    scheduler: Name = key(Name("fifo"), doc="Scheduling policy.")
    engine: Name = key(Name("nodes"), doc="What runs the parts.")
    slots: Count | None = key(None, doc="CPUs that parts may use here (default: those this process may use).")
    resources: Mapping[str, Count] = key({}, doc='Countable things parts can ask for, such as {"gpu": 2}.')
    python: Place | None = key(
        None, doc="Interpreter for parts: a command, or a path relative to the conf's folder (default: the node's own)."
    )
    work_path: Place | None = key(None, doc="Folder for work folders of parts (default: per user and host).")
    cache_path: Place | None = key(None, doc="Folder of the node's cache of files (default: per user and host).")
    cache_limit: Size | None = key(None, doc="Bytes that the cache may hold (default: a tenth of its disk).")
    master_path: Place | None = key(
        None, doc="Folder where the master writes down what happens (default: per user and host)."
    )
    share: bool = key(
        False,
        doc="Let computing nodes fetch large files from each other; they listen at COMP_NODE:COMPUTING_PORT then.",
    )
    keep_days: Days | None = key(
        None, doc="Days after which a job that ended is cleared (default: never).", most=36_500
    )
    beat: Seconds = key(Seconds(2.0), doc="Seconds between two signs of life of a computing node.", most=3600)
    lease: Seconds = key(
        Seconds(20.0), doc="Seconds of silence after which a computing node's parts run elsewhere.", most=86_400
    )
    reserve: Size | None = key(
        None, doc="Bytes that stay free on the store's disk (default: the larger of 2 GB and 5 %)."
    )
    legacy_parts: Count | None = key(
        None, doc="Parts of a job that an old client starts (default: one per computing node).", most=MAX_PARTS
    )
    #: Sections of plugins, by name: already an instance of the plugin's options class where the plugin was loaded.
    sections: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def master_port_or_default(self) -> int:
        """MASTER_PORT, else COMPUTING_PORT as in old confs."""
        return self.computing_port if self.master_port is None else self.master_port

    @property
    def shared_mem_node_or_default(self) -> str:
        """SHARED_MEM_NODE, else MASTER_NODE."""
        return self.master_node if self.shared_mem_node is None else self.shared_mem_node

    @property
    def query_node_or_default(self) -> str:
        """QUERY_NODE, else FTP_NODE."""
        return self.ftp_node if self.query_node is None else self.query_node
