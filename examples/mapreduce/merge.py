"""Put together what the reducers added up and print it.

python merge.py out/totals                 the commonest words, from the fetched outputs of the second job
python merge.py out/totals --json          all words, as JSON
python merge.py --serial INPUT_PATH        the same, counted by this process alone
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

import words


def main() -> None:
    parser = argparse.ArgumentParser(description="Print word counts.")
    parser.add_argument("folder", type=Path, help="fetched outputs of the second job, such as out/totals")
    parser.add_argument("--serial", action="store_true", help="the folder is what prepare.py made: count it here")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    found = words.ordered(serial(args.folder) if args.serial else merged(args.folder))
    if args.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{sum(found.values()):>9,}  words, {len(found):,} different ones; the commonest are")
    for word, number in list(found.items())[:12]:
        print(f"{number:>9,}    {word}")


def serial(inputs: Path) -> Counter[str]:
    """The counts of all texts."""
    found: Counter[str] = Counter()
    for name in (inputs / "texts.txt").read_text(encoding="utf-8").splitlines():
        found += words.count((inputs / name).read_text(encoding="utf-8"))
    return found


def merged(folder: Path) -> Counter[str]:
    """The counts of all reducers, from PROCESS_ID_PART_TOTAL/counts.json; each has words of its own."""
    found: Counter[str] = Counter()
    parts, totals = set(), set()
    for path in folder.glob("*/counts.json"):
        if name := re.fullmatch(r".+_(\d+)_(\d+)", path.parent.name):
            parts.add(int(name[1]))
            totals.add(int(name[2]))
            found.update(json.loads(path.read_text(encoding="utf-8")))
    if len(totals) != 1:
        sys.exit(f"{folder} should hold the outputs of one job; it holds those of {len(totals)}.")
    if missing := sorted(set(range(1, totals.pop() + 1)) - parts):
        sys.exit(f"{folder} lacks the counts of parts {missing}; fetch the job's outputs first.")
    return found


if __name__ == "__main__":
    main()
