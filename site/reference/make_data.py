"""Write data/digits.bin and data/digits.json from the table that scikit-learn ships.

    python site/reference/make_data.py        # needs scikit-learn

Real handwriting: 1797 digits by 13 people, 8×8 pixels of 17 grey levels. They are shuffled once,
with a fixed seed, because the table lists them writer by writer; the last 360 are held out.
"""

import gzip
import json
from pathlib import Path

import numpy as np
import sklearn

DATA = Path(__file__).resolve().parent.parent / "data"
TABLE = Path(sklearn.__file__).parent / "datasets" / "data" / "digits.csv.gz"
SPLIT_SEED, HELD_OUT = 0, 360
SOURCE = (
    "Optical Recognition of Handwritten Digits (test part), E. Alpaydin and C. Kaynak, "
    "UCI Machine Learning Repository, 1998, doi:10.24432/C50P49; here from scikit-learn's copy"
)


def main():
    with gzip.open(TABLE) as file:
        table = np.loadtxt(file, delimiter=",")
    table = table[np.random.default_rng(SPLIT_SEED).permutation(len(table))].astype(np.uint8)
    images, labels = table[:, :64], table[:, 64]
    (DATA / "digits.bin").write_bytes(images.tobytes() + labels.tobytes())
    about = {
        "layout": "count images of height × width bytes, then count labels of one byte",
        "count": len(table),
        "train": len(table) - HELD_OUT,
        "held_out": HELD_OUT,
        "height": 8,
        "width": 8,
        "white": 16,
        "split": f"shuffled by numpy.random.default_rng({SPLIT_SEED}); the last held out",
        "source": SOURCE,
        "licence": "Creative Commons Attribution 4.0 International (CC BY 4.0)",
    }
    (DATA / "digits.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    print(f"{len(table)} images, labels {np.bincount(labels).tolist()}")


if __name__ == "__main__":
    main()
