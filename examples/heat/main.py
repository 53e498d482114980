"""One strip of the plate: after every step it gives its edges to its neighbours and takes theirs.

main.py PART TOTAL PROCESS_ID [STEPS [SECONDS]]
"""

from __future__ import annotations

import sys
import time

import numpy as np
import plate

from discomputify_core import program

#: Seconds to wait for a neighbour: it may have to begin again on another node.
PATIENCE = 300


def main() -> None:
    steps = int(sys.argv[4]) if len(sys.argv) > 4 else plate.STEPS
    slower = float(sys.argv[5]) if len(sys.argv) > 5 else 0.0
    part, total = program.part(), program.total_parts()
    first, stop = plate.rows_of(part, total)
    strip = plate.plate()[first:stop]
    memory = program.memory()
    for number in range(1, steps + 1):
        # Under names of their own, and kept: a part that begins again finds the edges of every step.
        memory[f"{number}/top of {part}"] = strip[0]
        memory[f"{number}/bottom of {part}"] = strip[-1]
        above = memory.get(f"{number}/bottom of {part - 1}", wait=PATIENCE) if part > 1 else strip[0]
        below = memory.get(f"{number}/top of {part + 1}", wait=PATIENCE) if part < total else strip[-1]
        if above is None or below is None:
            sys.exit(f"A neighbour of part {part} did not give its edge of step {number} within {PATIENCE} s.")
        strip = plate.step(strip, above, below)
        program.progress(number / steps, f"step {number}")
        time.sleep(slower)
    with program.open("strip.npy", "wb") as file:
        np.save(file, strip)


if __name__ == "__main__":
    main()
