"""Write scikit-learn's pictures of digits (1,797 rows of 64 grey values) to INPUT_PATH/digits.npy.

python prepare.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "INPUT_PATH"
    folder.mkdir(parents=True, exist_ok=True)
    pictures = load_digits().data.astype(np.float64)
    np.save(folder / "digits.npy", pictures)
    print(f"{len(pictures)} pictures are in {folder / 'digits.npy'}")


if __name__ == "__main__":
    main()
