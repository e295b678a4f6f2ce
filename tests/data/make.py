"""Cut the small real subsets of Fashion-MNIST and MNIST that the tests use: the first pictures of each split.

python -m tests.data.make SOURCE TARGET [TRAIN TEST]: SOURCE and TARGET are folders of the four idx files.
"""

import gzip
import struct
import sys
from pathlib import Path

from training.data.named import IDX_FILES, read_idx


def main(source: Path, target: Path, train: int = 512, test: int = 128) -> None:
    """Write TARGET/*.gz with the first `train` and `test` entries of SOURCE."""
    target.mkdir(parents=True, exist_ok=True)
    for split, names in IDX_FILES.items():
        for name in names:
            array = read_idx(source / name)[: {"train": train, "test": test}[split]]
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (target / f"{name}.gz").write_bytes(gzip.compress(header + array.tobytes(), 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
