"""Talk to a cluster from a program: :class:`Client` for asyncio, :class:`BlockingClient` for everything else."""

from discomputify_core.client.blocking import BlockingClient
from discomputify_core.client.client import Client
from discomputify_core.client.results import Fetched, Submitted, Upload

__all__ = ["BlockingClient", "Client", "Fetched", "Submitted", "Upload"]
