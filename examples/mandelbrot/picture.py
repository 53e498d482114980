"""The picture itself: which part of the plane, how a row is computed, which colours.

Every way to render (parts of a job, one process alone) calls :func:`row`, so all give the same bytes. Not here:
files and jobs (main.py), the PNG format (png.py).
"""

from __future__ import annotations

import math

WIDTH, HEIGHT = 720, 540
#: Centre and width of the piece of the complex plane that is shown: the valley of the seahorses.
CENTRE = complex(-0.74410, 0.13150)
SPAN = 0.0052
#: A point that has not escaped after so many steps counts as inside the set.
STEPS = 400
#: Escape radius: a large one makes the colours run smoothly from one step to the next.
RADIUS = 32.0
#: Shade of points inside the set. The others are 1 to 255.
INSIDE = 0

_NIGHT, _BLUE, _ICE, _GOLD, _WINE = (4, 10, 60), (26, 100, 190), (235, 250, 255), (255, 170, 20), (90, 20, 30)
_STOPS = (_NIGHT, _BLUE, _ICE, _GOLD, _WINE, _NIGHT)


def row(y: int) -> bytes:
    """Row *y* (0 is the top one): one byte per pixel, its shade."""
    scale = SPAN / WIDTH
    imaginary = CENTRE.imag + (HEIGHT / 2 - y) * scale
    left = CENTRE.real - WIDTH / 2 * scale
    return bytes(_shade(complex(left + x * scale, imaginary)) for x in range(WIDTH))


def _shade(c: complex) -> int:
    z = c
    for step in range(STEPS):
        if abs(z) > RADIUS:
            # How far beyond the radius it went says how far between two steps it was.
            smooth = step + 1 - math.log2(math.log(abs(z)) / math.log(RADIUS))
            return 1 + int(45 * math.sqrt(smooth)) % 255
        z = z * z + c
    return INSIDE


def palette() -> list[tuple[int, int, int]]:
    """The colour (red, green, blue; 0 to 255) of each of the 256 shades."""
    return [(6, 6, 20)] + [_colour((shade - 1) / 254) for shade in range(1, 256)]


def _colour(turn: float) -> tuple[int, int, int]:
    """The colour *turn* (0 to 1) of the way round the loop of _STOPS."""
    place = turn * (len(_STOPS) - 1)
    left = min(int(place), len(_STOPS) - 2)
    ease = (place - left) ** 2 * (3 - 2 * (place - left))
    red, green, blue = (round(a + (b - a) * ease) for a, b in zip(_STOPS[left], _STOPS[left + 1], strict=True))
    return red, green, blue
