"""Read and check the record that `python -m training.lessons` writes into a checkpoint's reference/.

It measures the network without a class, on the betas of its training, and the exact denoiser of reference/train.npz.
"""

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from diffusion.derivation.c10_how_good import Recorded

ARRAYS, RECORD = "lessons.npz", "lessons.json"
SETS, CURVES = ("training", "held_out"), ("network", "exact", "between")


@dataclass(frozen=True, eq=False)
class Lessons:
    """The four curves, the neighbours' histograms and the quality of one network.

    t: (K,) int64. training, held_out: (K,) means over pictures of network, exact and between, as in
    c10_how_good.Errors. pythagoras_z: (K,). edges: (bins + 1,); samples_share, held_out_share: (bins,); copies: see
    c10_how_good.Neighbours; samples: their number. quality: the recorded values of c11_identity_table's Subject.
    pictures: the number that the exact denoiser knows. checkpoint_sha256: of the network.
    """

    t: Tensor
    training: dict[str, Tensor]
    held_out: dict[str, Tensor]
    pythagoras_z: Tensor
    edges: Tensor
    samples_share: Tensor
    held_out_share: Tensor
    samples: int
    copies: float
    quality: dict[str, Recorded]
    pictures: int
    checkpoint_sha256: str

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a checkpoint's reference/. Raises OSError if a file is missing, and ValueError for other content."""
        try:
            record = json.loads((Path(folder) / RECORD).read_text(encoding="utf-8"))
            with np.load(Path(folder) / ARRAYS, allow_pickle=False) as stored:
                arrays = {name: torch.from_numpy(stored[name]) for name in stored.files}
            curves = {one: {name: arrays[f"{one}_{name}"] for name in CURVES} for one in SETS}
            return cls(
                t=arrays["curve_t"],
                **curves,
                pythagoras_z=arrays["training_pythagoras_z"],
                edges=arrays["neighbour_edges"],
                samples_share=arrays["samples_share"],
                held_out_share=arrays["held_out_share"],
                samples=len(arrays["samples_distance"]),
                copies=float(record["copies"]),
                quality={name: Recorded(*map(float, values)) for name, values in record["quality"].items()},
                pictures=int(record["training_pictures"]),
                checkpoint_sha256=str(record["checkpoint_sha256"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"folder: holds no lessons ({error})") from error
