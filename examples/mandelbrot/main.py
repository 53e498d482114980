"""One part of the picture: every TOTALth row, as a PGM file under OUTPUT_PATH.

Rows are dealt out like cards, because neighbouring rows cost about the same: so all parts end at about the same time.
"""

from __future__ import annotations

import picture

from discomputify_core import program


def main() -> None:
    rows = range(program.part() - 1, picture.HEIGHT, program.total_parts())
    with program.open("tile.pgm", "wb") as tile:
        tile.write(b"P5 %d %d 255\n" % (picture.WIDTH, len(rows)))
        for done, y in enumerate(rows, start=1):
            tile.write(picture.row(y))
            program.progress(done / len(rows), f"row {y}")


if __name__ == "__main__":
    main()
