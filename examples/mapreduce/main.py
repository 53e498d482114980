"""One part of either job.

main.py … map REDUCERS [SECONDS]    counts the words of every TOTALth text, a file of counts for each reducer
main.py … reduce                    adds up the counts that all mappers made for the reducer of this part's number
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

import words

from discomputify_core import program


def map_texts(reducers: int, seconds: float) -> None:
    """Count, taking *seconds* longer over each text."""
    with program.open("texts.txt", encoding="utf-8") as listing:
        names = listing.read().splitlines()
    share = names[program.part() - 1 :: program.total_parts()]
    found: Counter[str] = Counter()
    for done, name in enumerate(share, start=1):
        with program.open(name, encoding="utf-8") as file:
            found += words.count(file.read())
        time.sleep(seconds)
        program.progress(done / len(share), name)
    counts: dict[int, dict[str, int]] = {reducer: {} for reducer in range(1, reducers + 1)}
    for word, number in found.items():
        counts[words.reducer_of(word, reducers)][word] = number
    for reducer, own in counts.items():
        with program.open(f"{reducer}.json", "w", encoding="utf-8") as out:
            json.dump(own, out)


def reduce_counts() -> None:
    """Add up what was counted for this part."""
    found: Counter[str] = Counter()
    # INPUT_PATH/JOB/JOB_PART_TOTAL/REDUCER.json, as --inputs-from puts them there.
    for path in Path(os.environ["DISCOMPUTIFY_INPUT_PATH"]).glob(f"*/*/{program.part()}.json"):
        found.update(json.loads(path.read_text(encoding="utf-8")))
    with program.open("counts.json", "w", encoding="utf-8") as out:
        json.dump(words.ordered(found), out)


if __name__ == "__main__":
    match sys.argv[4:]:
        case ["map", reducers]:
            map_texts(int(reducers), 0.0)
        case ["map", reducers, seconds]:
            map_texts(int(reducers), float(seconds))
        case ["reduce"]:
            reduce_counts()
        case _:
            sys.exit("Say which job this is: submit … -- map REDUCERS, or submit … -- reduce.")
