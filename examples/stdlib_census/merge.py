"""Add up what the parts counted and print it.

python merge.py out/census            a table, from the fetched outputs of a job
python merge.py out/census --json     the same as JSON
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import counting


def main() -> None:
    parser = argparse.ArgumentParser(description="Add up the counts of a census job.")
    parser.add_argument("folder", type=Path, help="fetched outputs of the job, such as out/census")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    show(counting.total(read_parts(args.folder)), as_json=args.json)


def read_parts(folder: Path) -> list[counting.Counts]:
    """The counts of every part, from PROCESS_ID_PART_TOTAL/counts.json."""
    parts: dict[int, counting.Counts] = {}
    totals = set()
    for path in folder.glob("*/counts.json"):
        if name := re.fullmatch(r".+_(\d+)_(\d+)", path.parent.name):
            parts[int(name[1])] = counting.Counts.from_data(json.loads(path.read_text(encoding="utf-8")))
            totals.add(int(name[2]))
    if len(totals) != 1:
        sys.exit(f"{folder} should hold the outputs of one job; it holds those of {len(totals)}.")
    if missing := sorted(set(range(1, totals.pop() + 1)) - set(parts)):
        sys.exit(f"{folder} lacks the counts of parts {missing}; fetch the job's outputs first.")
    return list(parts.values())


def show(found: counting.Counts, *, as_json: bool) -> None:
    """Print the counts, as JSON or as a table."""
    if as_json:
        print(json.dumps(found.to_data(), indent=1))
        return
    print(f"{found.files:>12,}  files, {len(found.not_tokenised)} of which are no valid Python")
    print(f"{found.bytes:>12,}  bytes")
    print(f"{found.lines:>12,}  lines")
    print(f"{found.tokens.total():>12,}  tokens, of these")
    for kind, number in found.tokens.most_common(8):
        print(f"{number:>12,}    {kind}")
    print("              and the commonest keywords")
    for word, number in found.keywords.most_common(12):
        print(f"{number:>12,}    {word}")


if __name__ == "__main__":
    main()
