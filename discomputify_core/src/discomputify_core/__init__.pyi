"""What type checkers see of this package: its names are loaded when they are first asked for, which none follows."""

from discomputify_core.client import BlockingClient, Client
from discomputify_core.hookspecs import hookimpl
from discomputify_core.roles.local import LocalCluster

__version__: str
__all__ = ["BlockingClient", "Client", "LocalCluster", "__version__", "hookimpl"]
