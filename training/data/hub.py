"""Pictures from the Hub (or any local folder that `datasets` reads), through the `datasets` library."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from training.data.pictures import DataError, DataSet, Pictures, fit
from training.data.split import split_off_test

TEST_SPLITS = ("test", "validation", "valid", "val")


def read_hub(
    repo_id: str,
    image_size: int | None = None,
    color: str = "auto",
    test_fraction: float = 0.1,
    image_column: str | None = None,
    label_column: str | None = None,
    seed: int = 0,
) -> DataSet:
    """The data set `repo_id` of the Hub ("owner/name" or "owner/name:configuration").

    The columns are found by their types (Image, ClassLabel) unless they are named. A data set without a test split
    gives up test_fraction of its training pictures. Raises DataError, naming what is missing.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError("the `datasets` library is not installed: pip install datasets") from error
    name, _, configuration = repo_id.partition(":")
    try:
        splits = datasets.load_dataset(name, configuration or None)
    except Exception as error:  # the library raises dozens of kinds, from the network's to the parser's
        raise DataError(f"{repo_id}: could not be loaded: {type(error).__name__}: {error}") from error
    if "train" not in splits:
        raise DataError(f"{repo_id}: has no split named train; it has {', '.join(splits)}")
    features = splits["train"].features
    image_column = image_column or _column_of_type(features, datasets.Image, repo_id)
    labelled = [column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    label_column = label_column or (labelled[0] if labelled else None)
    for column in filter(None, (image_column, label_column)):
        if column not in features:
            raise DataError(f"{repo_id}: has no column {column!r}; it has {', '.join(features)}")

    names = getattr(features[label_column], "names", None) if label_column else None
    if label_column and names is None:
        names = sorted({str(value) for split in splits.values() for value in split[label_column]})

    def pictures(split, size: int | None, color: str) -> Pictures:
        split = split.cast_column(image_column, datasets.Image(decode=False))
        mode = {"grey": "L", "rgb": "RGB"}.get(color)
        rows, labels = [], []
        for row in split:
            picture = _open(row[image_column])
            size = size or min(picture.size)
            mode = mode or ("L" if picture.mode in ("L", "1") else "RGB")
            rows.append(fit(picture, size, mode))
            if label_column:
                value = row[label_column]
                labels.append(
                    value if isinstance(features[label_column], datasets.ClassLabel) else names.index(str(value))
                )
        if not rows:
            raise DataError(f"{repo_id}: a split holds no pictures")
        return Pictures(np.stack(rows), np.array(labels, dtype=np.int64) if label_column else None)

    train = pictures(splits["train"], image_size, color)
    held_out = next((splits[split] for split in TEST_SPLITS if split in splits), None)
    if held_out is None:
        train, test = split_off_test(train, test_fraction, seed)
    else:
        test = pictures(held_out, train.images.shape[1], "grey" if train.images.shape[-1] == 1 else "rgb")
    return DataSet(
        name.rsplit("/", 1)[-1],
        train,
        test,
        class_names=tuple(map(str, names)) if names else None,
        license=str(splits["train"].info.license or "unknown"),
        source=f"Hugging Face Hub: {repo_id}",
        hub_id=name,
    )


def _open(stored: dict) -> Image.Image:
    """A picture as `datasets` stores it: its bytes, or the path of its file."""
    return Image.open(io.BytesIO(stored["bytes"]) if stored.get("bytes") else Path(stored["path"]))


def _column_of_type(features, kind, repo_id: str) -> str:
    found = [column for column, feature in features.items() if isinstance(feature, kind)]
    if not found:
        raise DataError(
            f"{repo_id}: has no column of pictures; it has {', '.join(features)}. Name it with --image-column"
        )
    return found[0]
