"""Turns the value of --data into a DataSet."""

from dataclasses import replace
from pathlib import Path

from training.data.config import DataConfig
from training.data.folder import read_folder
from training.data.hub import read_hub
from training.data.named import NAMED
from training.data.pictures import DataError, DataSet

HUB_PREFIX = "hub:"


def load_data(config: DataConfig) -> DataSet:
    """Read the pictures that a config names: a known name, "hub:owner/name", or the path of a folder of images.

    Raises DataError with what to do.
    """
    if config.data in NAMED:
        found = NAMED[config.data]()
        train, test = (part.in_style(config.image_size, config.color) for part in (found.train, found.test))
        return replace(found, train=train, test=test)
    if config.data.startswith(HUB_PREFIX):
        return read_hub(config.data.removeprefix(HUB_PREFIX), config)
    if Path(config.data).is_dir():
        return read_folder(Path(config.data), config)
    known = ", ".join(NAMED)
    raise DataError(
        f"data: {config.data!r} is neither a known data set ({known}), nor a folder, nor {HUB_PREFIX}owner/name"
    )
