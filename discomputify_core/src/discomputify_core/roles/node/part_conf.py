"""The conf that a program finds in its work folder: what old programs look up there, and no key. Pure."""

from __future__ import annotations

import json

from discomputify_core.model.conf import Conf
from discomputify_core.model.job import JobSpec


def part_conf(conf: Conf, spec: JobSpec) -> bytes:
    """discomputify_conf.json for a part of the job *spec* on a node with *conf*.

    The keys that confs have had from the beginning, but ENCRYPTION_KEY and DECRYPTION_KEY: no program is given those.
    """
    master = conf.master_node
    shown = {
        "RECV_BUFFER": conf.recv_buffer,
        "TRANSMISSION_BUFFER": conf.transmission_buffer,
        "TIMEOUT": conf.timeout,
        "RECV_CHUNK_SIZE": conf.recv_chunk_size,
        "TRANSMISSION_CHUNK_SIZE": conf.transmission_chunk_size,
        "DEBUG1": conf.debug1,
        "DEBUG2": conf.debug2,
        "INPUT_PATH": spec.input_path,
        "OUTPUT_PATH": spec.output_path,
        "FTP_NODE": conf.ftp_node,
        "FTP_PORT": conf.ftp_port,
        "QUERY_NODE": conf.query_node_or_default,
        "QUERY_PORT": conf.query_port,
        "MASTER_NODE": master,
        "MASTER_PORT": conf.master_port_or_default,
        "SHARED_MEM_NODE": conf.shared_mem_node_or_default,
        "SHARED_MEM_PORT": conf.shared_mem_port,
        "COMPUTING_PORT": conf.computing_port,
        "COMPUTING_NODES": list(conf.computing_nodes),
        "COMP_NODE": conf.comp_node or "",
        "FTP_BASE_PATH": conf.ftp_base_path,
    }
    return (json.dumps(shown, indent=4) + "\n").encode()
