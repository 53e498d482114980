"""Write the texts that this Python's own `help()` shows into INPUT_PATH, a file each.

    python prepare.py [--into FOLDER]

INPUT_PATH/texts.txt lists them, one name a line.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from pydoc_data.topics import topics

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the texts of this Python's help into INPUT_PATH.")
    parser.add_argument("--into", type=Path, default=HERE / "INPUT_PATH", metavar="FOLDER", help="default INPUT_PATH")
    into = parser.parse_args().into
    if (into / "texts.txt").is_file():
        shutil.rmtree(into)
    elif into.exists() and any(into.iterdir()):
        sys.exit(f"{into} holds files that prepare.py did not put there. Name an empty folder, or remove them.")
    (into / "texts").mkdir(parents=True)
    names = [f"texts/{number:03}.txt" for number in range(1, len(topics) + 1)]
    for name, topic in zip(names, sorted(topics), strict=True):
        (into / name).write_text(topics[topic], encoding="utf-8", newline="\n")
    (into / "texts.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8", newline="\n")
    print(f"{len(names)} texts, {sum(map(len, topics.values())) / 1e6:.1f} million characters, are in {into}")


if __name__ == "__main__":
    main()
