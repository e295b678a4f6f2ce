"""Reads a folder of images as a data set; the class of a picture is the sub-folder it is in."""

import os
from pathlib import Path

import numpy as np

from training.data.config import DataConfig
from training.data.pictures import DataError, DataSet, Pictures
from training.data.reading import DEFAULT_SIZE, Source, read_all, warnings_of, with_channels
from training.data.split import split_off_test

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
TEST_FOLDERS = ("test", "validation", "valid", "val")


def read_folder(folder: Path, config: DataConfig) -> DataSet:
    """Read all pictures below `folder`, cropped to squares of config.image_size, by default of 32.

    Layout: pictures directly in the folder (no classes), or one sub-folder per class. Either can lie below train/ and
    test/ (or validation/); otherwise config.test_fraction of the pictures is held out. config.color "auto" is RGB
    unless every picture is grey. Unreadable pictures are skipped, and named and counted in the warnings.
    Raises DataError if nothing usable is found.
    """
    image_size = config.image_size or DEFAULT_SIZE
    if not folder.is_dir():
        raise DataError(f"data: {folder} is not a folder")
    roots = _roots(folder)
    files = [_files_below(root) for root in roots]
    class_names = _class_names(files[0], roots[0])
    labels = [_labels(found, root, class_names) for found, root in zip(files, roots, strict=True)]
    broken: list[str] = []
    sources = [[Source(str(path), path) for path in found] for found in files]
    read = [read_all(found, image_size, config.resample, broken) for found in sources]
    images = with_channels(config.color, [pixels for pixels, _ in read])
    splits = [
        Pictures(pixels, None if known is None else known[kept])
        for pixels, (_, kept), known in zip(images, read, labels, strict=True)
    ]
    train, test = splits if len(splits) == 2 else split_off_test(splits[0], config.test_fraction, config.seed)
    name = folder.resolve().name
    return DataSet(
        name,
        train,
        test,
        class_names=class_names,
        source=f"{len(train) + len(test)} pictures from a folder named {name}",
        warnings=warnings_of(train, class_names, broken),
    )


def _roots(folder: Path) -> list[Path]:
    """Return the folder of the training pictures and, if it is separate, that of the test pictures."""
    parts = {path.name.casefold(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    if "train" not in parts:
        return [folder]
    held_out = next((parts[name] for name in TEST_FOLDERS if name in parts), None)
    known = {"train", held_out.name.casefold()} if held_out else {"train"}
    others = sorted(path.name for name, path in parts.items() if name not in known and not name.startswith("."))
    if others:
        raise DataError(f"data: {folder} has a folder train beside {', '.join(others)}; which are the classes?")
    return [parts["train"], held_out] if held_out else [parts["train"]]


def _files_below(root: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(root, followlinks=True):  # Path.rglob does not follow links to folders
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in names if not name.startswith(".")]
    found = sorted(path for path in found if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise DataError(f"data: no pictures found below {root} (looked for {', '.join(sorted(SUFFIXES))})")
    return found


def _class_names(files: list[Path], root: Path) -> tuple[str, ...] | None:
    """Return the sorted names of the sub-folders, or None if the pictures lie in the folder itself."""
    tops = [path.relative_to(root).parts for path in files]
    loose = sum(len(parts) == 1 for parts in tops)
    if loose == len(files):
        return None
    if loose:
        raise DataError(
            f"data: {loose} pictures lie in {root} itself and {len(files) - loose} in sub-folders; "
            "put every picture into the sub-folder of its class, or all of them into one folder"
        )
    return tuple(sorted({parts[0] for parts in tops}))


def _labels(files: list[Path], root: Path, class_names: tuple[str, ...] | None) -> np.ndarray | None:
    own = _class_names(files, root)
    if class_names is None:
        return None
    if own is None:
        raise DataError(f"data: the training pictures have classes, those in {root} lie in no sub-folder")
    unknown = sorted(set(own) - set(class_names))
    if unknown:
        raise DataError(f"data: {root} has the classes {', '.join(unknown)}, which the training pictures do not have")
    position = {name: number for number, name in enumerate(class_names)}
    return np.array([position[path.relative_to(root).parts[0]] for path in files], dtype=np.int64)
