"""From what a user writes after --data to a DataSet."""

from dataclasses import replace
from pathlib import Path

from training.data.folder import read_folder
from training.data.hub import read_hub
from training.data.named import NAMED
from training.data.pictures import DataError, DataSet
from training.data.reading import DEFAULT_SIZE

HUB_PREFIX = "hub:"


def load_data(
    data: str,
    image_size: int | None = None,
    color: str = "auto",
    test_fraction: float = 0.1,
    resample: str = "lanczos",
    image_column: str | None = None,
    label_column: str | None = None,
    seed: int = 0,
) -> DataSet:
    """`data`: a known name, "hub:owner/name", or the path of a folder of images.

    image_size: None keeps the own size of a data set whose pictures are squares of one size,
    else means 32. color: "grey", "rgb" or "auto".
    Raises DataError with what to do.
    """
    if data in NAMED:
        found = NAMED[data]()
        return replace(
            found, train=found.train.in_style(image_size, color), test=found.test.in_style(image_size, color)
        )
    if data.startswith(HUB_PREFIX):
        return read_hub(
            data.removeprefix(HUB_PREFIX), image_size, color, test_fraction, resample, image_column, label_column, seed
        )
    if Path(data).is_dir():
        return read_folder(Path(data), image_size or DEFAULT_SIZE, color, test_fraction, resample, seed)
    raise DataError(
        f"data: {data!r} is neither a known data set ({', '.join(NAMED)}), nor a folder, nor {HUB_PREFIX}owner/name"
    )
