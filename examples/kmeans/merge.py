"""Put the parts' results together and print the clusters.

python merge.py out/kmeans            from the fetched outputs of a job
python merge.py --serial [FOLDER]     the same by one process, of FOLDER/digits.npy (default: INPUT_PATH)
--json                                as JSON: inertia, sizes, labels, centroids
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import lloyd
import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description="Show the clusters that a k-means job found.")
    parser.add_argument("folder", type=Path, nargs="?", help="outputs such as out/kmeans; with --serial: the inputs")
    parser.add_argument("--serial", action="store_true", help="compute here, without a cluster")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if args.serial:
        found = serial(args.folder or Path(__file__).resolve().parent / "INPUT_PATH")
    elif args.folder:
        found = merged(args.folder)
    else:
        parser.error("name the folder of the job's outputs, or give --serial")
    if args.json:
        print(json.dumps(found))
        return
    print(f"inertia {found['inertia']:,.1f}; pictures by cluster: {', '.join(map(str, found['sizes']))}")


def serial(inputs: Path) -> dict[str, Any]:
    """What one process finds."""
    pictures = np.load(inputs / "digits.npy")
    centroids = lloyd.cluster(pictures, lloyd.first_centroids(pictures), lambda array: array, lambda number: None)
    labels, inertia = lloyd.nearest(pictures, centroids)
    return result(labels, centroids, inertia)


def merged(folder: Path) -> dict[str, Any]:
    """What the parts found, from PROCESS_ID_PART_TOTAL/."""
    parts = {}
    for path in folder.glob("*/labels.npy"):
        if name := re.fullmatch(r".+_(\d+)_(\d+)", path.parent.name):
            parts[int(name[1])] = (path.parent, int(name[2]))
    totals = {total for _, total in parts.values()}
    if len(totals) != 1 or len(parts) != min(totals):
        sys.exit(f"{folder} does not hold the outputs of all parts of one job; fetch them first.")
    (total,) = totals
    slices = {part: np.load(where / "labels.npy") for part, (where, _) in parts.items()}
    labels = np.empty(sum(map(len, slices.values())), dtype=np.int64)
    for part, found in slices.items():
        labels[part - 1 :: total] = found
    first, _ = parts[1]
    inertia = json.loads((first / "inertia.json").read_text(encoding="utf-8"))
    return result(labels, np.load(first / "centroids.npy"), inertia)


def result(labels: Any, centroids: Any, inertia: float) -> dict[str, Any]:
    """The clusters as plain data."""
    sizes = np.bincount(labels, minlength=lloyd.CLUSTERS)
    return {
        "inertia": inertia,
        "sizes": sizes.tolist(),
        "labels": labels.tolist(),
        "centroids": centroids.tolist(),
    }


if __name__ == "__main__":
    main()
