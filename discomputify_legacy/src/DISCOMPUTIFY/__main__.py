"""``python3 -m DISCOMPUTIFY ROLE``: ``discomputify run ROLE`` under its old name. Not here: what a role does."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from DISCOMPUTIFY.conf import conf_here
from DISCOMPUTIFY.enter_key import end_on_a_line
from discomputify_core.cli import main as command_line
from discomputify_core.cli.output import note, safe_streams, say

ROLES = ("computing_node", "ftp_node", "master_node")
SINCE, GONE = "2.0 (2026-11)", "3.0"

USAGE = f"""usage: python3 -m DISCOMPUTIFY ROLE [OPTIONS]

ROLE is one of: {", ".join(ROLES)}.
The same as: discomputify run ROLE [OPTIONS], with the conf of the current folder."""


def main(args: Sequence[str]) -> int:
    """Run the role that *args* name until it is told to end, and return the exit code."""
    safe_streams()
    role, more = (args[0], args[1:]) if args else ("", ())
    if role in ("-h", "--help"):
        say(USAGE)
        return 0
    if role not in ROLES:
        note(f"error: There is no role {role!r}.\n{USAGE}" if role else USAGE)
        return 2
    note(
        f"'python3 -m DISCOMPUTIFY {role}' is deprecated since {SINCE} and goes with {GONE}. "
        f"Use instead: discomputify run {role}"
    )
    end_on_a_line()
    conf = conf_here()
    named = [] if conf is None else ["--conf", str(conf)]
    return command_line.main([*named, "run", role, *more])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
