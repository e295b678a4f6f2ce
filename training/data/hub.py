"""Reads pictures from the Hub, or any local folder that the `datasets` library reads."""

from pathlib import Path

import numpy as np

from training.data.checks import warnings_of
from training.data.config import DataConfig
from training.data.pictures import DataError, DataSet, Pictures
from training.data.reading import Source, own_size, read_all, with_channels
from training.data.split import train_and_test
from training.data.tally import Tally

TEST_SPLITS = ("test", "validation", "valid", "val")


def read_hub(repo_id: str, config: DataConfig) -> DataSet:
    """Read the data set `repo_id` of the Hub ("owner/name" or "owner/name:configuration").

    Columns are found by their types (Image, ClassLabel) unless they are named. Without a test split,
    config.test_fraction of the training pictures is held out. Raises DataError, naming what is missing.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError("the `datasets` library is not installed: pip install datasets") from error
    name, _, configuration = repo_id.partition(":") if not Path(repo_id).is_dir() else (repo_id, "", "")
    try:
        splits = datasets.load_dataset(name, configuration or None)
    except Exception as error:  # the library raises dozens of kinds, from network to parser errors
        raise DataError(f"{repo_id}: could not be loaded: {type(error).__name__}: {error}") from error
    if "train" not in splits:
        raise DataError(f"{repo_id}: has no split named train; it has {', '.join(splits)}")
    held_out = next((split for split in TEST_SPLITS if split in splits), None)
    used = [splits["train"]] + ([splits[held_out]] if held_out else [])

    features = used[0].features
    image_column = config.image_column or _column_of_type(features, datasets.Image, repo_id)
    labelled = [column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    label_column = config.label_column or (labelled[0] if labelled else None)
    for split in used:
        for column in filter(None, (image_column, label_column)):
            if column not in split.features:
                raise DataError(f"{repo_id}: a split has no column {column!r}; it has {', '.join(split.features)}")
        if not isinstance(split.features[image_column], datasets.Image):
            raise DataError(f"{repo_id}: the column {image_column!r} does not hold one picture a row")

    class_names, labels = _labels(used, label_column, repo_id)
    sources = [_sources(split.cast_column(image_column, datasets.Image(decode=False)), image_column) for split in used]
    size = config.image_size or own_size(sources[0])
    tally = Tally()
    everything = [source for found in sources for source in found]
    read = read_all(everything, size, config.resample, config.frames == "all", tally)
    known = None if label_column is None else np.concatenate(labels)[read.source]
    pictures = Pictures(with_channels(config.color, read.images), known)
    train, test = train_and_test(pictures, read.source, len(sources[0]), config.test_fraction, config.seed)
    rows = len(np.unique(read.source))
    return DataSet(
        Path(name).name,
        train,
        test,
        class_names=class_names,
        license=str(used[0].info.license or "unknown"),
        source=f"Hugging Face Hub: {repo_id}",
        notes=(f"{rows} of {len(everything)} rows used: {len(train)} to train on, {len(test)} held out", *read.notes),
        warnings=(*tally.warnings(), *read.warnings, *warnings_of(train, class_names)),
        hub_id=name,
    )


def _sources(split, column: str) -> list[Source]:
    """Return the rows of a split, undecoded: each holds its bytes, the path of its file, or None if it is missing."""

    def content(stored: dict | None) -> Path | bytes | None:
        if not stored:
            return None
        return stored.get("bytes") or (Path(stored["path"]) if stored.get("path") else None)

    return [Source(f"row {number}", content(row[column])) for number, row in enumerate(split)]


def _labels(splits: list, column: str | None, repo_id: str) -> tuple[tuple[str, ...] | None, list[np.ndarray | None]]:
    """Return the class names and, for each split, labels (N,) int64; None without a column."""
    if column is None:
        return None, [None for _ in splits]
    values = [split[column] for split in splits]
    for rows in values:
        missing = next((number for number, value in enumerate(rows) if value is None or isinstance(value, list)), None)
        if missing is not None:
            raise DataError(f"{repo_id}: the column {column!r} has no single label in row {missing}")
    names = getattr(splits[0].features[column], "names", None)
    if names is not None:
        return tuple(map(str, names)), [np.array(rows, dtype=np.int64) for rows in values]
    names = sorted({str(value) for rows in values for value in rows})
    position = {name: number for number, name in enumerate(names)}
    return tuple(names), [np.array([position[str(value)] for value in rows], dtype=np.int64) for rows in values]


def _column_of_type(features, kind, repo_id: str) -> str:
    found = [column for column, feature in features.items() if isinstance(feature, kind)]
    if not found:
        raise DataError(
            f"{repo_id}: has no column of pictures; it has {', '.join(features)}. Name it with --image-column"
        )
    return found[0]
