"""A metal plate with hot spots, how it is cut into strips of rows, and one step of the heat equation over a strip."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

HEIGHT, WIDTH = 240, 320
STEPS = 300
#: How much of the difference to its neighbours a point takes over in one step; above 0.25 it would not be stable.
SPEED = 0.2


def plate() -> Array:
    """The plate before the first step: cold, with a hot bar, a hot disc and a warm edge."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    heat = np.zeros((HEIGHT, WIDTH))
    heat[60:66, 40:280] = 100.0
    heat[(rows - 160) ** 2 + (columns - 110) ** 2 < 30**2] = 80.0
    heat[(rows - 170) ** 2 + (columns - 230) ** 2 < 12**2] = 100.0
    heat[:, 0] = 50.0
    return heat


def rows_of(part: int, total: int) -> tuple[int, int]:
    """The first row of *part*'s strip and the one after its last."""
    return (part - 1) * HEIGHT // total, part * HEIGHT // total


def step(strip: Array, above: Array, below: Array) -> Array:
    """*strip* one step later; *above* and *below* are the rows next to it. Nothing flows over the plate's sides."""
    padded = np.vstack([above, strip, below])
    left = np.hstack([strip[:, :1], strip[:, :-1]])
    right = np.hstack([strip[:, 1:], strip[:, -1:]])
    around: Array = padded[:-2] + padded[2:] + left + right
    later: Array = strip + SPEED * (around - 4 * strip)
    return later
