"""Join the tiles that the parts left behind into one PNG.

python merge.py out/mandelbrot mandelbrot.png     from the fetched outputs of a job
python merge.py --serial mandelbrot.png           the same picture, rendered by this process alone
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import picture
import png


def main() -> None:
    parser = argparse.ArgumentParser(description="Join the tiles of a mandelbrot job into one PNG.")
    parser.add_argument("folder", type=Path, nargs="?", help="fetched outputs of the job, such as out/mandelbrot")
    parser.add_argument("png", type=Path, help="the file to write")
    parser.add_argument("--serial", action="store_true", help="render everything here instead of reading outputs")
    args = parser.parse_args()
    if args.serial == (args.folder is not None):
        parser.error("name either the folder of a job's outputs or --serial")
    rows = [picture.row(y) for y in range(picture.HEIGHT)] if args.serial else joined(args.folder)
    args.png.write_bytes(png.encode(picture.WIDTH, picture.HEIGHT, rows, picture.palette()))
    print(f"{args.png}: {picture.WIDTH} x {picture.HEIGHT} pixels")


def joined(folder: Path) -> list[bytes]:
    """The rows of the whole picture, from the outputs of all parts under *folder*."""
    tiles, total = find_tiles(folder)
    rows = [b""] * picture.HEIGHT
    for part, path in tiles.items():
        rows[part - 1 :: total] = read_tile(path)
    return rows


def find_tiles(folder: Path) -> tuple[dict[int, Path], int]:
    """The tile of every part (PROCESS_ID_PART_TOTAL/tile.pgm), and how many parts there are."""
    tiles: dict[int, Path] = {}
    totals = set()
    for path in folder.glob("*/tile.pgm"):
        if name := re.fullmatch(r".+_(\d+)_(\d+)", path.parent.name):
            tiles[int(name[1])] = path
            totals.add(int(name[2]))
    if len(totals) != 1:
        sys.exit(f"{folder} should hold the outputs of one job; it holds those of {len(totals)}.")
    total = totals.pop()
    if missing := sorted(set(range(1, total + 1)) - set(tiles)):
        sys.exit(f"{folder} lacks the tiles of parts {missing}; fetch the job's outputs first.")
    return tiles, total


def read_tile(path: Path) -> list[bytes]:
    """The rows of one PGM file."""
    header, _, pixels = path.read_bytes().partition(b"\n")
    _, width, height, _ = header.split()
    if len(pixels) != int(width) * int(height):
        sys.exit(f"{path} is not a whole tile: it has {len(pixels)} pixels instead of {int(width) * int(height)}.")
    return [pixels[start : start + int(width)] for start in range(0, len(pixels), int(width))]


if __name__ == "__main__":
    main()
