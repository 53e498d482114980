"""What this plugin registers. Nothing heavy is imported here: core imports what a role uses."""

from __future__ import annotations

from discomputify_core.hookspecs import Registration, hookimpl


@hookimpl
def discomputify_register_stores() -> Registration:
    """The store, as ``"STORE": "ftp"`` names it."""
    return {"ftp": "discomputify_ftp.store:FtpStore"}


@hookimpl
def discomputify_register_roles() -> Registration:
    """The service, as ``discomputify run ftp_node`` starts it."""
    return {"ftp_node": "discomputify_ftp.service:FtpNode"}
