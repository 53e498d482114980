"""How long parts take: ``2``, ``uniform:1,3``, ``exp:2``, ``lognormal:1,0.5``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random

import attrs

from discomputify_core.errors import BadInput

#: Kind -> how many numbers it takes, how a duration is drawn, what the numbers are.
KINDS: Mapping[str, tuple[int, Callable[..., float], str]] = {
    "fixed": (1, lambda random, seconds: seconds, "SECONDS"),
    "uniform": (2, lambda random, least, most: random.uniform(least, most), "LEAST,MOST"),
    "exp": (1, lambda random, mean: random.expovariate(1 / mean), "MEAN"),
    "lognormal": (2, lambda random, median, sigma: median * math.exp(random.gauss(0.0, sigma)), "MEDIAN,SIGMA"),
}


#: Most seconds that may be asked for, a week; and most of a sigma. Nodes show signs of life every two seconds of them.
LONGEST, WIDEST = 7 * 86400.0, 5.0


@attrs.frozen
class Durations:
    """How long parts take, in seconds."""

    kind: str = "fixed"
    numbers: tuple[float, ...] = (1.0,)

    def draw(self, random: Random) -> float:
        """One of them: at least a millisecond, at most a week."""
        seconds = KINDS[self.kind][1](random, *self.numbers)
        return float(min(max(seconds, 0.001), LONGEST))

    def __str__(self) -> str:
        numbers = ",".join(f"{number:g}" for number in self.numbers)
        return numbers if self.kind == "fixed" else f"{self.kind}:{numbers}"


def durations(text: str) -> Durations:
    """What *text* stands for.

    Raises:
        BadInput: it stands for nothing; says what may be written.
    """
    kind, colon, rest = text.partition(":")
    if not colon:
        kind, rest = "fixed", text
    try:
        numbers = tuple(float(number) for number in rest.split(","))
    except ValueError:
        numbers = ()
    wanted = KINDS.get(kind.strip())
    good = wanted is not None and len(numbers) == wanted[0] and all(0 <= n <= LONGEST for n in numbers)
    good = good and (kind.strip() != "lognormal" or numbers[1] <= WIDEST)
    if not good or numbers[0] <= 0 or (kind == "uniform" and numbers[1] < numbers[0]):
        forms = ", ".join(KINDS[each][2] if each == "fixed" else f"{each}:{KINDS[each][2]}" for each in KINDS)
        raise BadInput(
            f"{text!r} says not how long parts take. Write one of: {forms}; for instance uniform:1,3. "
            f"Seconds are more than 0 and at most {LONGEST:,.0f}, a week; SIGMA is at most {WIDEST:g}."
        )
    return Durations(kind.strip(), numbers)
