"""Closes clients of scripts that never close them: when nobody has them any more, at the latest when Python ends."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref

from discomputify_core.client import BlockingClient


def closed_in_time(owner: object, client: BlockingClient) -> weakref.finalize[..., object]:
    """Close *client* once *owner* is gone; the result can be detached by who closes it before."""
    return weakref.finalize(owner, _close, client, os.getpid())


def _close(client: BlockingClient, process: int) -> None:
    if os.getpid() != process:  # in a forked child the client has no thread, and its connections are the parent's
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        client.close()
    else:  # garbage was collected in a loop, perhaps the one that closing waits for
        threading.Thread(target=client.close, name="discomputify-closing").start()
