"""The census without a cluster: one process counts everything, with the code that the parts run.

python census.py [--json]     prints what `merge.py` prints for a job over the same inputs
"""

from __future__ import annotations

import argparse
from pathlib import Path

import counting
import merge

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the tokens of all files in this process alone.")
    parser.add_argument("inputs", type=Path, nargs="?", default=HERE / "INPUT_PATH", help="what prepare.py made")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    names = (args.inputs / "files.txt").read_text(encoding="utf-8").splitlines()
    counts = (counting.count(name, (args.inputs / name).read_bytes()) for name in names)
    merge.show(counting.total(counts), as_json=args.json)


if __name__ == "__main__":
    main()
