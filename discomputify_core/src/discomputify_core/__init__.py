"""discomputify: run a program directory as N parts on your own machines.

This file stays light: every part of every job imports it on its way to
:mod:`discomputify_core.program`. Public names that cost time to import are
loaded when they are first asked for.
"""

__version__ = "2.0.0a1"

_LAZY = {
    "hookimpl": "discomputify_core.hookspecs",
    "Client": "discomputify_core.client",
    "BlockingClient": "discomputify_core.client",
    "LocalCluster": "discomputify_core.roles.local",
}

__all__ = ["BlockingClient", "Client", "LocalCluster", "__version__", "hookimpl"]


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'discomputify_core' has no attribute {name!r}")
