"""The conf as old code finds and reads it: in the current folder, and as a dict named CONF.

Not here: what keys mean, which core knows; what parts of programs read (BASE_PROGRAM).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from DISCOMPUTIFY.defaults import default_conf
from discomputify_core.edge.conf_file import Found, read_text
from discomputify_core.edge.opening import Loaded, need_conf
from discomputify_core.model.conf import CONF_NAME


def conf_here() -> Path | None:
    """The conf of the current folder, or None.

    The old package looked there alone, so it goes before all other places where core looks.
    """
    here = Path.cwd() / CONF_NAME
    return here if os.path.lexists(here) else None


def opened(kinds: Collection[str] = (), roles: Collection[str] = ()) -> tuple[Loaded, dict[str, Any]]:
    """The conf of the current folder, else the one that core finds: checked, and as old code reads it.

    Args:
        kinds: kinds of plugins to load with it.
        roles: roles of plugins to load with it.

    Raises:
        BadInput: there is none.
        BadConf: it cannot be used; says every mistake.
    """
    loaded = need_conf(conf_here(), kinds, roles)
    written = {} if loaded.path is None else read_text(Found(loaded.path, loaded.found_by)).data
    return loaded, {**default_conf(), **written}
