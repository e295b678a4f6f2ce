"""Tells training, held-out pictures and classes from the folders that the pictures are in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffusion.errors import printable
from training.data.finding import kind_of
from training.data.pictures import DataError
from training.data.tally import Tally

TRAIN_FOLDERS = {"train", "training", "train_set", "training_set", "trainset"}
TEST_FOLDERS = (  # the first that fits is used
    "test", "testing", "test_set", "testset", "validation", "valid", "validate", "val", "validation_set", "val_set",
    "dev", "eval",
)  # fmt: skip
NO_CLASS = {"images", "image", "imgs", "img", "pictures", "photos", "data"}  # usual names of a folder of all
UNKNOWN_CLASS = "held out, of a class without training pictures"
OUTSIDE = "outside of the training and the held-out folder"


@dataclass(frozen=True)
class Layout:
    """Where each picture belongs. splits: the files of training and, if they are apart, of the held-out pictures.

    folders: the names of the class folders as they are on disk, sorted, or None; labels: for each split, (N,) int64
    positions in them, or None. parents: the folders of the training's class folders, as paths below the whole folder.
    """

    splits: list[list[Path]]
    folders: tuple[str, ...] | None
    labels: list[np.ndarray | None]
    notes: tuple[str, ...]
    parents: tuple[tuple[str, ...], ...] = ()

    def vanished(self, tally: Tally, classes: tuple[str, ...] | None) -> list[str]:
        """Return the folders beside those of the classes in which something was left out and nothing could be read."""
        if classes is None:
            return []
        found = set()
        for parts, is_folder in tally.missed:
            for parent in self.parents:
                if parts[: len(parent)] == parent and len(parts) > len(parent) + (not is_folder):
                    found.add(parts[len(parent)])
        return sorted(found - set(classes))


def sort_out(files: Sequence[Path], folder: Path, tally: Tally) -> Layout:
    """Sort pictures below a folder into training, held out, and classes; the tally gets what is no part of these.

    Layout: pictures directly in the folder (no classes), or one sub-folder per class; either can lie below train/ and
    test/ (or validation/, val/ ...), in any case, and all of it in a folder of its own. Raises DataError if pictures
    lie beside folders of pictures, because either may be meant.
    """
    root = _innermost(files, folder)
    notes = [] if root == folder else [f"the pictures are those in {printable(str(root.relative_to(folder)))}"]
    tops = _by_top(files, root)
    train = [name for name in tops if name is not None and name.casefold() in TRAIN_FOLDERS]
    held_out = [name for name in tops if name is not None and name.casefold() in TEST_FOLDERS]
    if not train and held_out and (len(held_out) == len(tops) or _has_train(root)):
        names = ", ".join(map(printable, held_out))
        raise DataError(f"data: {printable(str(root))} holds pictures to test with ({names}), and none to train on")
    if not train or _is_a_class(train, tops, root):
        return _labelled([_below(files, root)], [root], notes, tally, folder)
    held_out.sort(key=lambda name: TEST_FOLDERS.index(name.casefold()))
    for name in tops:
        if name not in train and name not in held_out:
            _leave_out(tally, OUTSIDE, tops[name], folder)
    splits = [_without_a_folder_of_all(sorted(pair for name in train for pair in _below(tops[name], root / name)))]
    has_classes = any(len(inside) > 1 for _, inside in splits[0])
    for name in held_out:
        files = _without_a_folder_of_all(_below(tops[name], root / name))
        if has_classes and not all(len(inside) > 1 for _, inside in files):
            _leave_out(tally, "held out, but in no folder of a class", tops[name], folder)
        elif len(splits) == 2:
            _leave_out(tally, "in a second held-out folder", tops[name], folder)
        else:
            splits.append(files)
    return _labelled(splits, [root / name for name in train], notes, tally, folder)


Placed = tuple[Path, tuple[str, ...]]  # a file, and its path below the folder of its split


def _has_train(root: Path) -> bool:
    return any(path.is_dir() and path.name.casefold() in TRAIN_FOLDERS for path in root.iterdir())


def _without_a_folder_of_all(files: list[Placed]) -> list[Placed]:
    """Go down where all pictures of a split are in one folder: train/train/1.jpg, or train/images/cats/1.jpg."""
    while files and len({inside[0] for _, inside in files}) == 1 and all(len(inside) > 1 for _, inside in files):
        folder = files[0][1][0].casefold()
        deeper = all(len(inside) > 2 for _, inside in files)
        if not deeper and folder not in TRAIN_FOLDERS and folder not in TEST_FOLDERS and folder not in NO_CLASS:
            break  # the one class that there is
        files = [(path, inside[1:]) for path, inside in files]
    return files


def _below(files: Sequence[Path], root: Path) -> list[Placed]:
    return [(path, path.relative_to(root).parts) for path in files]


def _innermost(files: Sequence[Path], folder: Path) -> Path:
    """Go down while all pictures are in one folder that holds folders of pictures and is not train/ itself."""
    root = folder
    while True:
        tops = _by_top(files, root)
        name = next(iter(tops))
        if len(tops) > 1 or name is None or name.casefold() in TRAIN_FOLDERS or None in _by_top(files, root / name):
            return root
        root = root / name


def _by_top(files: Sequence[Path], root: Path) -> dict[str | None, list[Path]]:
    """Group files by the folder right below the root; None for those in the root itself."""
    tops: dict[str | None, list[Path]] = {}
    for path, inside in _below(files, root):
        tops.setdefault(inside[0] if len(inside) > 1 else None, []).append(path)
    return tops


def _is_a_class(train: list[str], tops: dict[str | None, list[Path]], root: Path) -> bool:
    """Return whether the folder train is one class of several, as for pictures of cars, buses and trains."""
    others = [name for name in tops if name is not None and name not in train]
    flat = all(len(inside) == 1 for name in (*train, *others) for _, inside in _below(tops[name], root / name))
    return bool(others) and flat and not any(name.casefold() in TEST_FOLDERS for name in others)


def _leave_out(tally: Tally, reason: str, files: Sequence[Path], folder: Path) -> None:
    for path in files:
        tally.add(reason, str(path.relative_to(folder)), kind_of(path))


def _labelled(splits: list[list[Placed]], parents: list[Path], notes: list[str], tally: Tally, folder: Path) -> Layout:
    tops = [inside[0] for _, inside in splits[0] if len(inside) > 1]
    if not tops:
        return Layout([[path for path, _ in split] for split in splits], None, [None for _ in splits], tuple(notes))
    if len(tops) < len(splits[0]):
        raise DataError(
            f"data: {len(splits[0]) - len(tops)} pictures lie in {printable(str(folder))} itself and {len(tops)} in "
            "sub-folders; put every picture into the sub-folder of its class, or all of them into one folder"
        )
    folders = tuple(sorted(set(tops)))
    position = {name: number for number, name in enumerate(folders)}
    kept, labels = [], []
    for split in splits:
        strange = [path for path, inside in split if inside[0] not in position]
        _leave_out(tally, UNKNOWN_CLASS, strange, folder)
        known = [(path, position[inside[0]]) for path, inside in split if inside[0] in position]
        if known:
            kept.append([path for path, _ in known])
            labels.append(np.array([label for _, label in known], dtype=np.int64))
    return Layout(kept, folders, labels, tuple(notes), tuple(place.relative_to(folder).parts for place in parents))
