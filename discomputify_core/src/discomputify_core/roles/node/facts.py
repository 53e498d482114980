"""What a computing node says of itself when it joins: above all, which interpreter runs parts and what it has."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from typing import Any

import attrs

from discomputify_core import __version__
from discomputify_core.edge.machine import architecture
from discomputify_core.errors import BadConf
from discomputify_core.model.conf import Conf
from discomputify_core.model.ids import NodeName
from discomputify_core.model.node import NodeFacts

#: Oldest Python that runs parts.
OLDEST = (3, 10)
#: Seconds for another interpreter to say what it is; it may have to be read from a slow disk.
PROBE = 30.0
#: Most packages that are told.
MAX_PACKAGES = 3000

# '' in sys.path is the current folder, where a file may be called json.py.
_SCRIPT = """
import sys
sys.path[:] = [place for place in sys.path if place]
import json, platform
try:
    from importlib import metadata
    packages = [[found.metadata["Name"], found.version] for found in metadata.distributions()]
except ImportError:
    packages = []
print(json.dumps({"version": platform.python_version(), "path": sys.executable, "packages": packages}))
"""


@attrs.frozen
class Interpreter:
    """The Python that runs parts."""

    path: str
    version: str
    #: Installed distributions: name in lower case with dashes -> version.
    packages: dict[str, str]


def interpreter(python: str | None) -> Interpreter:
    """The interpreter that PYTHON in the conf names, or this process's own. Starts it once; blocks.

    Raises:
        BadConf: it cannot be run, or is too old.
    """
    if python is None:
        own = [[found.metadata["Name"], found.version] for found in metadata.distributions()]
        return Interpreter(sys.executable, platform.python_version(), _packages(own))
    found = _probed(python)
    version = str(found.get("version"))
    if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise _bad(python, f"is Python {version}, and parts need {OLDEST[0]}.{OLDEST[1]} or newer")
    return Interpreter(str(found.get("path")), version, _packages(found.get("packages")))


def _probed(python: str) -> dict[str, Any]:
    path = shutil.which(python)
    if path is None:
        raise _bad(python, "is not a program that can be run")
    try:
        done = subprocess.run(
            [path, "-c", _SCRIPT], stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE, check=False
        )
    except subprocess.TimeoutExpired:
        raise _bad(python, f"did not say its version within {PROBE:.0f} s") from None
    except OSError as error:
        raise _bad(python, f"cannot be started: {error.strerror or error}") from error
    try:
        found = json.loads(done.stdout)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it says nothing"]
        raise _bad(python, f"does not run as a Python interpreter: {last[0][:200]}")
    return found


def _bad(python: str, why: str) -> BadConf:
    text = f"PYTHON in the conf of this node, {python!r}, {why}."
    return BadConf(text + " Name a Python interpreter there, or remove the key.", problems=[text])


def _packages(rows: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in rows if isinstance(rows, list) else []:
        name, version = row
        # A broken installation may have neither; the first of two is the one that is imported.
        if name and version:
            found.setdefault(re.sub(r"[-_.]+", "-", str(name)).lower(), str(version))
    return dict(sorted(found.items())[:MAX_PACKAGES])


def facts(
    conf: Conf, name: NodeName, *, slots: int, memory: int, owner: str, cache_limit: int, session: str
) -> NodeFacts:
    """All that this node says of itself. Blocks.

    Args:
        conf: for RESOURCES and PYTHON.
        name: the node's name.
        slots: CPUs that parts may use.
        memory: bytes.
        owner: user@host.
        cache_limit: bytes.
        session: random per start of the node.

    Raises:
        BadConf: PYTHON cannot be run.
    """
    python = interpreter(conf.python)
    return NodeFacts(
        name=name,
        slots=slots,
        memory=memory,
        resources=dict(conf.resources),
        os=platform.system(),
        architecture=architecture(),
        python=python.version,
        interpreter=python.path,
        packages=python.packages,
        cache_limit=cache_limit,
        owner=owner,
        version=__version__,
        session=session,
    )
