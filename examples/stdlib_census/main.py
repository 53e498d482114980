"""One part of the census: counts the tokens of every TOTALth file of the list and writes them under OUTPUT_PATH."""

from __future__ import annotations

import json

import counting

from discomputify_core import program


def main() -> None:
    with program.open("files.txt", encoding="utf-8") as listing:
        names = listing.read().splitlines()
    share = names[program.part() - 1 :: program.total_parts()]
    found = counting.Counts()
    for done, name in enumerate(share, start=1):
        # Opened one by one: with `--inputs lazy` only this part's files travel to this node.
        with program.open(name, "rb") as file:
            found.add(counting.count(name, file.read()))
        program.progress(done / len(share), name)
    with program.open("counts.json", "w", encoding="utf-8") as out:
        json.dump(found.to_data(), out, indent=1)


if __name__ == "__main__":
    main()
