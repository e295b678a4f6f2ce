"""Packs, checks and shows the pixel faces data set.

    python pack.py RAW_FOLDER            pack the output of generate.mjs to train.npz and test.npz
    python pack.py --check               verify both files and print their figures
    python pack.py --preview             write preview.png (needs Pillow)

The .npz files lie next to this script unless --folder names another folder. Each holds

    images   uint8 (N, 16, 16, 3): picture, row, column, channel R, G, B; sRGB levels 0..255
    labels   uint8 (N,): 4 * hat + 2 * glasses + beard

Read them with ``numpy.load(path, allow_pickle=False)``.
"""

import argparse
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
COUNTS = {"train": 20_000, "test": 10_000}
SHAPE = (16, 16, 3)
CLASSES = 8
MAX_BYTES = 3_000_000
# sha256 of the bytes of `images` in C order. They identify the data set; another liblzma may pack
# the same arrays into other .npz bytes.
IMAGES_SHA256 = {
    "train": "a9ac02b3fe1c24d3dc05c25b9eb394e7c59b3fb670a0c52707535a6a56f8bdf7",
    "test": "a0a9437a7290ec361e5cf257fb664c8b66b88f608e0bb6a6c9bb7fc63e565660",
}
# Number of test pictures whose nearest training picture is searched.
QUERIES = 500


class DataError(Exception):
    """The data are not what this script expects."""


def require(condition, message):
    """Raise DataError with `message` unless `condition` holds."""
    if not condition:
        raise DataError(message)


def class_name(label):
    """Return the features of a label, for example "hat + beard" for 5, and "plain" for 0."""
    worn = [name for name, bit in (("hat", 4), ("glasses", 2), ("beard", 1)) if label & bit]
    return " + ".join(worn) or "plain"


def sha256(array):
    """Return the hex sha256 of the bytes of `array` in C order."""
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def read_raw(folder, split):
    """Return images (N, 16, 16, 3) and labels (N,), both uint8, of the output of generate.mjs."""
    count = COUNTS[split]
    images = np.fromfile(folder / f"{split}-images.raw", np.uint8)
    labels = np.fromfile(folder / f"{split}-labels.raw", np.uint8)
    require(
        images.size == count * np.prod(SHAPE) and labels.size == count,
        f"{split}: {images.size} image bytes and {labels.size} labels are not {count} pictures",
    )
    return images.reshape(count, *SHAPE), labels


def write_npz(path, arrays):
    """Write `arrays` (name: array) as an .npz file with LZMA compression.

    numpy.savez_compressed knows only deflate, which makes the files twice as large, and
    stores the time of writing; here the same arrays give the same bytes.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_LZMA
            info.create_system = 3  # the default depends on the machine
            archive.writestr(info, data.getvalue())


def load(folder, split):
    """Return images (N, 16, 16, 3) and labels (N,), both uint8, of a packed file."""
    with np.load(folder / f"{split}.npz", allow_pickle=False) as archive:
        require(
            sorted(archive.files) == ["images", "labels"],
            f"{split}.npz holds {archive.files}, not images and labels",
        )
        return archive["images"], archive["labels"]


def pack(raw, folder):
    """Pack the raw files in `raw` to train.npz and test.npz in `folder`."""
    for split in COUNTS:
        images, labels = read_raw(raw, split)
        path = folder / f"{split}.npz"
        write_npz(path, {"images": images, "labels": labels})
        print(f"{path.name}: {path.stat().st_size} bytes")


def nearest(queries, pool):
    """Compare each query with its nearest picture in `pool` (both uint8, (N, 16, 16, 3)).

    Returns two arrays, one value per query: the RMS distance over the 768 values in levels of 0..255, and the number of
    the 256 pixels that differ.
    """
    # float64 holds the sums of squares (at most 768 * 255**2) without rounding.
    flat_queries = queries.reshape(len(queries), -1).astype(np.float64)
    flat_pool = pool.reshape(len(pool), -1).astype(np.float64)
    squares = (flat_queries**2).sum(1)[:, None] - 2 * flat_queries @ flat_pool.T + (flat_pool**2).sum(1)[None]
    best = squares.argmin(1)
    rms = np.sqrt(squares[np.arange(len(queries)), best] / flat_pool.shape[1])
    changed = (queries != pool[best]).any(axis=3).sum(axis=(1, 2))
    return rms, changed


def percentiles(values, digits):
    """Return the minimum, some percentiles and the maximum of `values` as text."""
    points = {"min": 0, "5 %": 5, "25 %": 25, "median": 50, "75 %": 75, "95 %": 95, "max": 100}
    return ", ".join(f"{name} {np.percentile(values, point):.{digits}f}" for name, point in points.items())


def check(folder):
    """Verify both packed files and print the figures that the README quotes."""
    seen = set()
    loaded = {}
    for split, count in COUNTS.items():
        path = folder / f"{split}.npz"
        images, labels = loaded[split] = load(folder, split)
        require(
            images.dtype == np.uint8 and images.shape == (count, *SHAPE),
            f"{split}: images are {images.dtype} {images.shape}",
        )
        require(
            labels.dtype == np.uint8 and labels.shape == (count,),
            f"{split}: labels are {labels.dtype} {labels.shape}",
        )
        require(path.stat().st_size <= MAX_BYTES, f"{path.name} is over {MAX_BYTES} bytes")
        in_class = np.bincount(labels, minlength=CLASSES)
        require(
            (in_class == count // CLASSES).all(),
            f"{split}: the classes are not balanced: {in_class.tolist()}",
        )
        before = len(seen)
        seen.update(picture.tobytes() for picture in images)
        require(
            len(seen) == before + count,
            f"{split}: {before + count - len(seen)} pictures occur more than once",
        )
        require(
            sha256(images) == IMAGES_SHA256[split],
            f"{split}: the images have the sha256 {sha256(images)}",
        )
        require((labels == np.arange(count) % CLASSES).all(), f"{split}: label i is not i % {CLASSES}")
        print(f"{path.name}: {path.stat().st_size} bytes")
        print(f"  images {images.dtype} {images.shape}, labels {labels.dtype} {labels.shape}")
        print(f"  pictures in each of the {CLASSES} classes: {in_class[0]}")
        print(f"  sha256 of the images {sha256(images)}")
        print(f"  sha256 of the labels {sha256(labels)}")
        colours = [len(np.unique(p.reshape(-1, 3), axis=0)) for p in images[:1000]]
        print(f"  colours in a picture (first 1000): {percentiles(colours, 0)}")
        mean, std = images.mean() / 127.5 - 1, images.std() / 127.5
        print(f"  values scaled to -1..1: mean {mean:.3f}, standard deviation {std:.3f}")
    print(f"different pictures in both files together: {len(seen)}")
    train, test = loaded["train"][0], loaded["test"][0]
    rms, changed = nearest(test[:QUERIES], train)
    print(f"nearest training picture of each of the first {QUERIES} test pictures")
    print(f"  RMS distance in levels of 0..255: {percentiles(rms, 1)}")
    print(f"  differing pixels of 256: {percentiles(changed, 0)}")
    others = np.random.default_rng(0).choice(len(train), QUERIES, replace=False)
    apart = (test[:QUERIES].astype(np.float64) - train[others]) ** 2
    apart = np.sqrt(apart.mean(axis=(1, 2, 3)))
    print(f"a random training picture for each of the first {QUERIES} test pictures")
    print(f"  RMS distance in levels of 0..255: {percentiles(apart, 1)}")
    print("all checks passed")


def preview(folder, path):
    """Write a sheet of the first 16 training pictures of each class, one class per row.

    Each pixel becomes 4 x 4; there are 4 white pixels between the pictures.
    """
    from PIL import Image  # only the preview needs Pillow

    scale, gap, columns = 4, 4, 16
    images, labels = load(folder, "train")
    tile = SHAPE[0] * scale + gap
    sheet = np.full((CLASSES * tile + gap, columns * tile + gap, 3), 255, np.uint8)
    for label in range(CLASSES):
        for column, picture in enumerate(images[labels == label][:columns]):
            large = picture.repeat(scale, axis=0).repeat(scale, axis=1)
            y, x = label * tile + gap, column * tile + gap
            sheet[y : y + large.shape[0], x : x + large.shape[1]] = large
    Image.fromarray(sheet).save(path, optimize=True)
    rows = ", ".join(class_name(label) for label in range(CLASSES))
    print(f"{path.name}: {path.stat().st_size} bytes; rows from the top: {rows}")


def main():
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Pack, check or show the pixel faces data set.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("raw", nargs="?", type=Path, help="folder that generate.mjs wrote")
    what.add_argument("--check", action="store_true", help="verify the files, print figures")
    what.add_argument("--preview", action="store_true", help="write preview.png (needs Pillow)")
    parser.add_argument("--folder", type=Path, default=HERE, help="where the .npz files lie")
    arguments = parser.parse_args()
    try:
        if arguments.check:
            check(arguments.folder)
        elif arguments.preview:
            preview(arguments.folder, arguments.folder / "preview.png")
        else:
            pack(arguments.raw, arguments.folder)
    except (DataError, OSError, ValueError, zipfile.BadZipFile) as error:
        print(f"pack.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # any terminal or pipe, whatever its encoding
    sys.exit(main())
