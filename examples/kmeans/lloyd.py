"""K-means by Lloyd's algorithm, to be shared out: some of the rows here, the sums over all from the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

CLUSTERS = 10
ROUNDS = 200


def first_centroids(rows: Array) -> Array:
    """Where to begin: rows that lie far apart, found without chance, so that everybody finds the same."""
    chosen = [rows[0]]
    for _ in range(CLUSTERS - 1):
        far = np.min([((rows - each) ** 2).sum(axis=1) for each in chosen], axis=0)
        chosen.append(rows[int(far.argmax())])
    return np.array(chosen)


def nearest(rows: Array, centroids: Array) -> tuple[np.ndarray[Any, np.dtype[np.int64]], float]:
    """For each row the number of its nearest centroid, and the sum of the squared distances to them."""
    distances = ((rows[:, None, :] - centroids[None, :, :]) ** 2).sum(axis=2)
    labels = distances.argmin(axis=1)
    return labels, float(distances[np.arange(len(rows)), labels].sum())


def sums(rows: Array, labels: np.ndarray[Any, np.dtype[np.int64]]) -> Array:
    """By cluster, the sum of its rows, and in the last column how many they are."""
    found = np.zeros((CLUSTERS, rows.shape[1] + 1))
    np.add.at(found, labels, np.column_stack([rows, np.ones(len(rows))]))
    return found


def cluster(rows: Array, start: Array, add_up: Callable[[Array], Array], after: Callable[[int], None]) -> Array:
    """The centroids, after as many rounds as it takes for them to stay where they are.

    Args:
        rows: those that are held here.
        start: the first centroids.
        add_up: gives the sum of everybody's array.
        after: told the number of each round that is over.
    """
    centroids = start
    for number in range(1, ROUNDS + 1):
        labels, _ = nearest(rows, centroids)
        total = add_up(sums(rows, labels))
        counts = total[:, -1:]
        moved = np.where(counts > 0, total[:, :-1] / np.maximum(counts, 1), centroids)
        after(number)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids
