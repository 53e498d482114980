"""``discomputify service ROLE``: a systemd unit that starts a role with the machine, on stdout.

Here: the unit's text. Not here: installing it, which is the user's to do (docs/after_a_reboot.md).
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from discomputify_core.cli.output import note, say
from discomputify_core.cli.run import opened
from discomputify_core.edge.machine import is_root
from discomputify_core.errors import BadInput, OurBug

#: Seconds that a role has to give its parts back and to end, and between its death and its next start.
STOPS, AGAIN = 60, 5

UNIT = """\
[Unit]
Description=discomputify {role}
{after}StartLimitIntervalSec=0

[Service]
ExecStart={command}
WorkingDirectory={folder}
{user}Restart=on-failure
RestartSec={again}
# The role ends its parts by itself, and has some time for it.
KillMode=mixed
TimeoutStopSec={stops}
{delegate}
[Install]
WantedBy={target}
"""
DELEGATE = """\
# Lets the kernel hold parts to their memory limits.
Delegate=yes
"""
ONLINE = "Wants=network-online.target\nAfter=network-online.target\n"


@click.command()
@click.argument("role", metavar="ROLE")
@click.option("--name", metavar="N", help="The computing node's name, as of run.")
@click.option("--slots", type=click.IntRange(1), metavar="N", help="CPUs that parts may use, as of run.")
@click.option("--user", "of_user", is_flag=True, help="For this user's own systemd, instead of the machine's.")
def service(role: str, name: str | None, slots: int | None, of_user: bool) -> int:
    """Print a systemd unit that runs ROLE of this conf with this interpreter, and again after a reboot."""
    loaded, roles = opened(role)
    conf = loaded.path
    if conf is None:
        raise OurBug("A conf without a file was opened.")
    words = [*_interpreter(), "--conf", str(conf.resolve()), "run", role]
    for option, value in (("--name", name), ("--slots", slots)):
        words += [] if value is None else [option, str(value)]
    say(
        unit(
            role,
            words,
            conf.resolve().parent,
            None if of_user else getpass.getuser(),
            list(roles) == ["computing_node"],
        )
    )
    _say_how(role, of_user)
    return 0


def _interpreter() -> Sequence[str]:
    # Not resolved: behind the link of a virtual environment is another interpreter, without these packages.
    return str(Path(sys.executable).absolute()), "-m", "discomputify_core.cli.main"


def unit(role: str, words: Sequence[str], folder: Path, user: str | None, computes: bool) -> str:
    """The text of a unit.

    Args:
        words: the command line.
        folder: where it runs.
        user: as whom; None: it is one of a user's own systemd.
        computes: whether it is of a computing node alone.

    Raises:
        BadInput: something in it cannot be written into a unit.
    """
    for each in (*words, str(folder), user or ""):
        if any(ord(character) < 32 or ord(character) == 127 for character in each):
            raise BadInput(f"{each!r} holds a line break or another control character, which a unit cannot.")
    return UNIT.format(
        role=role,
        after=ONLINE if user is not None else "",
        command=" ".join([_quoted(words[0]), *(_quoted(each.replace("$", "$$")) for each in words[1:])]),
        folder=str(folder).replace("%", "%%"),
        user="" if user is None else f"User={user.replace('%', '%%')}\n",
        again=AGAIN,
        stops=STOPS,
        delegate=DELEGATE if computes else "",
        target="default.target" if user is None else "multi-user.target",
    )


def _quoted(word: str) -> str:
    """*word* as systemd reads it back from a command line."""
    safe = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    plain = word and all(character.isalnum() or character in "/._-+=:,@" for character in word)
    return word if plain else f'"{safe}"'


def _say_how(role: str, of_user: bool) -> None:
    name = f"discomputify-{role}.service"
    folder = "~/.config/systemd/user" if of_user else "/etc/systemd/system"
    ctl = "systemctl --user" if of_user else "sudo systemctl"
    note(f"Write this to {folder}/{name}, then: {ctl} daemon-reload; {ctl} enable --now {name}")
    if of_user:
        note("So that it runs while nobody is logged in: loginctl enable-linger")
    elif is_root():
        note("It runs as root, and so do programs of jobs: print it as the account that is to run it, or change User=.")
