"""Reads a folder of images as a data set; the class of a picture is the sub-folder it is in."""

from pathlib import Path

import numpy as np

from diffusion.errors import printable
from training.data.checks import warnings_of
from training.data.config import DataConfig
from training.data.finding import find_files
from training.data.layout import UNKNOWN_CLASS, Layout, sort_out
from training.data.pictures import DataError, DataSet, Pictures
from training.data.reading import DEFAULT_SIZE, ReadPictures, Source, identify, read_all, with_channels
from training.data.split import train_and_test
from training.data.tally import Tally


def read_folder(folder: Path, config: DataConfig) -> DataSet:
    """Read all pictures below `folder`, cropped to squares of config.image_size, by default of 32.

    What is a picture, its content decides; which is which, see layout.py. Without held-out pictures,
    config.test_fraction of the training pictures is held out. config.color "auto" is RGB unless every picture is grey.
    Every file is used or counted, by reason, in the notes and warnings. Raises DataError if nothing usable is found.
    """
    if not folder.is_dir():
        raise DataError(f"data: {printable(str(folder))} is not a folder")
    tally = Tally()
    sources = identify([_source(path, folder) for path in find_files(folder, tally)], tally)
    if not sources:
        told = [f"data: no pictures found below {printable(str(folder))}", *tally.warnings(), *tally.notes()]
        raise DataError("; ".join(told))
    layout = sort_out([source.content for source in sources], folder, tally)
    sources = [_source(path, folder) for split in layout.splits for path in split]
    read = read_all(sources, config.image_size or DEFAULT_SIZE, config.resample, config.frames == "all", tally)
    pictures, origin, folders = _with_classes(read, layout, sources, tally)
    pictures = Pictures(with_channels(config.color, pictures.images), pictures.labels)
    train, test = train_and_test(pictures, origin, len(layout.splits[0]), config.test_fraction, config.seed)
    name = printable(folder.resolve().name)
    used, vanished = len(np.unique(origin)), layout.vanished(tally, folders)
    return DataSet(
        name,
        train,
        test,
        class_names=folders,
        source=f"{len(train) + len(test)} pictures from a folder named {name}",
        notes=(
            f"{used} of {used + tally.total} files used: {len(train)} pictures to train on, {len(test)} held out",
            *layout.notes,
            *read.notes,
            *tally.notes(),
        ),
        warnings=(*tally.warnings(), *read.warnings, *warnings_of(train, folders, vanished)),
    )


def _source(path: Path, folder: Path) -> Source:
    return Source(str(path.relative_to(folder)), path)


def _with_classes(
    read: ReadPictures, layout: Layout, sources: list[Source], tally: Tally
) -> tuple[Pictures, np.ndarray, tuple[str, ...] | None]:
    """Label pictures by their folders; a class needs a training picture that could be read.

    Returns the pictures, the position of each one's file in the sources, and the names of the folders of the classes.
    """
    if layout.folders is None:
        return Pictures(read.images), read.source, None
    labels = np.concatenate(layout.labels)[read.source]
    present = np.unique(labels[read.source < len(layout.splits[0])])
    if not present.size:  # train_and_test says so
        return Pictures(read.images), read.source, None
    known = np.isin(labels, present)
    for position in np.unique(read.source[~known]):
        tally.add(UNKNOWN_CLASS, sources[position].name, sources[position].kind)
    folders = tuple(layout.folders[label] for label in present)
    return Pictures(read.images[known], np.searchsorted(present, labels[known])), read.source[known], folders
