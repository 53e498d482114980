"""Put the strips together and paint them.

python merge.py out/heat heat.png              from the fetched outputs of a job
python merge.py --serial heat.png [STEPS]      the same by one process
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import plate
import png

#: Black over red and yellow to white: 0 to 100 degrees.
PALETTE = [(min(255, at * 3), max(0, min(255, at * 3 - 255)), max(0, min(255, at * 3 - 510))) for at in range(256)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Paint the plate that a heat job computed.")
    parser.add_argument("--serial", action="store_true", help="compute here, without a cluster")
    parser.add_argument("words", nargs="+", help="OUTPUTS PICTURE, or with --serial PICTURE [STEPS]")
    args = parser.parse_args()
    if args.serial:
        picture, *steps = args.words
        heat = serial(int(steps[0]) if steps else plate.STEPS)
    elif len(args.words) == 2:
        outputs, picture = args.words
        heat = merged(Path(outputs))
    else:
        parser.error("name the folder of the job's outputs and the picture")
    Path(picture).write_bytes(paint(heat))
    print(f"{picture}: {heat.shape[1]} x {heat.shape[0]} pixels, mean {heat.mean():.6f} degrees")


def serial(steps: int) -> plate.Array:
    """The plate after *steps*, by one process."""
    heat = plate.plate()
    for _ in range(steps):
        heat = plate.step(heat, heat[0], heat[-1])
    return heat


def merged(folder: Path) -> plate.Array:
    """The plate that the parts computed, from PROCESS_ID_PART_TOTAL/strip.npy."""
    strips, totals = {}, set()
    for path in folder.glob("*/strip.npy"):
        if name := re.fullmatch(r".+_(\d+)_(\d+)", path.parent.name):
            strips[int(name[1])] = np.load(path)
            totals.add(int(name[2]))
    if len(totals) != 1 or len(strips) != min(totals):
        sys.exit(f"{folder} does not hold the strips of all parts of one job; fetch them first.")
    return np.vstack([strips[part] for part in sorted(strips)])


def paint(heat: plate.Array) -> bytes:
    """A PNG of the plate."""
    shades = np.clip(heat * 2.55, 0, 255).astype(np.uint8)
    return png.encode(heat.shape[1], heat.shape[0], (row.tobytes() for row in shades), PALETTE)


if __name__ == "__main__":
    main()
