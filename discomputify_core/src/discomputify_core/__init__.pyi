"""What type checkers see of this package: its names are loaded when they are first asked for, which none follows."""

from discomputify_core.client import BlockingClient as BlockingClient
from discomputify_core.client import Client as Client
from discomputify_core.hookspecs import hookimpl as hookimpl
from discomputify_core.roles.local import LocalCluster as LocalCluster

__version__: str
