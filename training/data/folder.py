"""A folder of images as a data set: the class of a picture is the sub-folder it lies in."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from training.data.pictures import DataError, DataSet, Pictures, fit
from training.data.split import split_off_test

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
TEST_FOLDERS = ("test", "validation", "valid", "val")
FEW_PICTURES = 1000  # below this a DDPM trained from scratch mostly learns its pictures by heart
NAMED_IN_WARNING = 5


def read_folder(
    folder: Path,
    image_size: int,
    color: str = "auto",
    test_fraction: float = 0.1,
    resample: str = "lanczos",
    seed: int = 0,
) -> DataSet:
    """All pictures below `folder`, cropped to image_size x image_size.

    Layout: pictures directly in the folder (no classes), or one sub-folder a class; either of them may lie below
    train/ and test/ (or validation/), else test_fraction of the pictures is held out. color "auto" is RGB unless every
    picture is grey. Pictures that cannot be read are left out, named and counted in the warnings.
    Raises DataError where nothing usable is found.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"data: {folder} is not a folder")
    parts = {name: folder / name for name in ("train", *TEST_FOLDERS) if (folder / name).is_dir()}
    held_out = next((parts[name] for name in TEST_FOLDERS if name in parts), None)
    ready_split = "train" in parts and held_out is not None
    train_root = parts["train"] if ready_split else folder
    roots = [train_root, held_out] if ready_split else [train_root]

    files = [_files_below(root) for root in roots]
    class_names = _class_names(files[0], train_root)
    broken: list[str] = []
    read = [_read_all(found, image_size, color, resample, broken) for found in files]
    channels = 1 if color == "grey" or (color == "auto" and all(_is_grey(images) for images, _ in read)) else 3
    splits = [
        Pictures(images[..., :channels], _labels(kept, root, class_names))
        for (images, kept), root in zip(read, roots, strict=True)
    ]
    train, test = splits if ready_split else split_off_test(splits[0], test_fraction, seed)
    return DataSet(
        folder.resolve().name,
        train,
        test,
        class_names=class_names,
        source=f"{len(train) + len(test)} pictures from a folder named {folder.resolve().name}",
        warnings=tuple(_warnings(train, broken)),
    )


def _files_below(root: Path) -> list[Path]:
    found = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(p.startswith(".") for p in path.relative_to(root).parts)
    )
    if not found:
        raise DataError(f"data: no pictures found below {root} (looked for {', '.join(sorted(SUFFIXES))})")
    return found


def _class_names(files: list[Path], root: Path) -> tuple[str, ...] | None:
    """The sub-folders' names, sorted; None where the pictures lie in the folder itself."""
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
    if class_names is None:
        return None
    names = [path.relative_to(root).parts[0] for path in files]
    unknown = sorted(set(names) - set(class_names))
    if unknown:
        raise DataError(f"data: {root} has the classes {', '.join(unknown)}, which the training pictures do not have")
    return np.array([class_names.index(name) for name in names], dtype=np.int64)


def _read_all(
    files: list[Path], image_size: int, color: str, resample: str, broken: list[str]
) -> tuple[np.ndarray, list[Path]]:
    """(N, size, size, 3) uint8 and the files they come from; what cannot be read is appended to `broken`."""
    method = Image.Resampling[resample.upper()]
    mode = "L" if color == "grey" else "RGB"

    def read(path: Path) -> np.ndarray | str:
        try:
            with Image.open(path) as picture:
                return fit(picture, image_size, mode, method)
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            return f"{path} ({error})"

    with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's lock
        results = list(tqdm(pool.map(read, files), total=len(files), desc="reading pictures", leave=False))
    good = [(result, path) for result, path in zip(results, files, strict=True) if not isinstance(result, str)]
    broken += [result for result in results if isinstance(result, str)]
    if not good:
        raise DataError(f"data: none of the {len(files)} pictures could be read; the first: {broken[0]}")
    return np.stack([pixels for pixels, _ in good]), [path for _, path in good]


def _is_grey(images: np.ndarray) -> bool:
    return bool((images == images[..., :1]).all())


def _warnings(train: Pictures, broken: list[str]):
    if broken:
        named = "; ".join(broken[:NAMED_IN_WARNING]) + ("; ..." if len(broken) > NAMED_IN_WARNING else "")
        yield f"{len(broken)} pictures could not be read and are left out: {named}"
    if len(train) < FEW_PICTURES:
        yield (
            f"only {len(train)} training pictures: from scratch a network learns fewer than {FEW_PICTURES} by heart. "
            "More pictures, or --init-from a shipped checkpoint, help"
        )
    if train.labels is not None:
        counts = np.bincount(train.labels)
        if counts.min() < 10:
            yield f"the smallest class has only {counts.min()} training pictures"
