"""Copy this Python's own standard library into INPUT_PATH: over a thousand real files to count.

    python prepare.py [--largest KIB] [--into FOLDER]

INPUT_PATH/files.txt lists what was copied, one name a line.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOT_STANDARD = {"site-packages", "dist-packages", "__pycache__"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Copy this Python's standard library into INPUT_PATH.")
    parser.add_argument("--largest", type=int, default=32, metavar="KIB", help="leave out larger files (default 32)")
    parser.add_argument("--into", type=Path, default=HERE / "INPUT_PATH", metavar="FOLDER", help="default INPUT_PATH")
    args = parser.parse_args()
    library = Path(sysconfig.get_path("stdlib"))
    names = standard_library(library, args.largest * 1024)
    if not names:
        sys.exit(
            f"There are no Python files under {library}; this Python keeps its library elsewhere, as in a zip file."
        )
    size = copy(library, names, args.into)
    print(f"{len(names)} files, {size / 1e6:.1f} MB, of Python {platform.python_version()} are in {args.into}")


def standard_library(library: Path, largest: int) -> list[str]:
    """Names, relative to *library* and sorted, of its Python files of at most *largest* bytes."""
    files = (path for path in library.rglob("*.py") if path.is_file() and path.stat().st_size <= largest)
    names = (path.relative_to(library) for path in files)
    return sorted(name.as_posix() for name in names if not NOT_STANDARD.intersection(name.parts))


def copy(library: Path, names: list[str], into: Path) -> int:
    """Put the files under *into*, replacing an earlier copy, and list them in files.txt. Returns their bytes."""
    if (into / "files.txt").is_file():
        shutil.rmtree(into)
    elif into.exists() and any(into.iterdir()):
        sys.exit(f"{into} holds files that prepare.py did not put there. Name an empty folder, or remove them.")
    size = 0
    for name in names:
        target = into / "lib" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library / name, target)
        size += target.stat().st_size
    listing = "".join(f"lib/{name}\n" for name in names)
    (into / "files.txt").write_text(listing, encoding="utf-8", newline="\n")
    return size


if __name__ == "__main__":
    main()
