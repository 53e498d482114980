"""One part of k-means: holds every TOTALth picture, adds up with the others in every round.

main.py PART TOTAL PROCESS_ID [SECONDS]: SECONDS makes each round take that much longer, to watch it.
"""

from __future__ import annotations

import json
import sys
import time

import lloyd
import numpy as np

from discomputify_core import program


def main() -> None:
    slower = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    memory = program.memory()
    with program.open("digits.npy", "rb") as file:
        pictures = np.load(file)
    rows = pictures[program.part() - 1 :: program.total_parts()]

    def after(number: int) -> None:
        program.progress(min(number / 40, 0.99), f"round {number}")
        time.sleep(slower)

    centroids = lloyd.cluster(
        rows, lloyd.first_centroids(pictures), lambda array: np.asarray(memory.reduce("sums", array)), after
    )
    labels, inertia = lloyd.nearest(rows, centroids)
    total = memory.reduce("inertia", inertia)
    with program.open("labels.npy", "wb") as file:
        np.save(file, labels)
    with program.open("centroids.npy", "wb") as file:
        np.save(file, centroids)
    with program.open("inertia.json", "w") as file:
        json.dump(total, file)


if __name__ == "__main__":
    main()
