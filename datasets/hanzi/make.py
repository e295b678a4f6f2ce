"""Makes, checks and shows the hanzi data set: Chinese characters in six scripts.

    python make.py              render the fonts in node_modules to train.npz and test.npz
    python make.py --check      verify both files and print their figures
    python make.py --preview    write preview.png beside this script

The .npz files lie in hanzi/ of $DDPM_LAB_DATA, else of data/ in the repository, unless --folder names another folder.
Each holds

    images   uint8 (N, 32, 32, 1): picture, row, column, grey; 255 is paper, dark is ink
    labels   uint8 (N,): the script, a position in SCRIPTS

Read them with ``numpy.load(path, allow_pickle=False)``.
"""

import argparse
import hashlib
import io
import os
import sys
import zipfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from writing import HERE, SCRIPTS, SIDE, DataError, common_characters, gb2312, hold_out, read_font, require, written

TEST_CHARACTERS = 840
VARIANTS = {"train": 4, "test": 2}  # pictures of a character in one script
# sha256 of the bytes of `images` in C order. They identify the data set; another FreeType may draw other levels.
IMAGES_SHA256 = {
    "train": "f17b569dd7eb27033e6f95f78bbe1e101a90239c263c2f43737acbb964db8704",
    "test": "02d45e3416b7c2e446ef6e6f280f0b29f1a2e1ef9f7ebdea75c1f8eb7580ff0d",
}
QUERIES = 500  # number of test pictures whose nearest training picture is searched


@dataclass(frozen=True)
class Plan:
    """The layout of a file: the character, script, font and variant at each position."""

    characters: list[str]
    variants: int

    def places(self, script: int, font: int) -> list[tuple[int, str, int]]:
        """Return (position in the file, character, variant) of every picture that a font of a script writes.

        The fonts of a script take turns, variant by variant.
        """
        fonts = len(list(SCRIPTS.values())[script])
        return [
            ((variant * len(self.characters) + place) * len(SCRIPTS) + script, character, variant)
            for variant in range(self.variants)
            if variant % fonts == font
            for place, character in enumerate(self.characters)
        ]

    def __len__(self) -> int:
        return self.variants * len(self.characters) * len(SCRIPTS)


def write_font(task: tuple[str, int, int, dict[str, Plan]]) -> tuple[int, int, dict[str, np.ndarray]]:
    """Draw everything that one font writes: arrays (n, SIDE, SIDE) uint8, one per file, in the order of Plan.places.

    A picture that the font has drawn before is drawn again with other variations.
    """
    pattern, script, number, plans = task
    font = read_font(pattern).fit(plans["test"].characters)
    seen: set[bytes] = set()
    found = {}
    for split, plan in plans.items():
        places = plan.places(script, number)
        pictures = np.empty((len(places), SIDE, SIDE), np.uint8)
        drawings = {character: font.drawing(character) for character in plan.characters}
        for row, (_, character, variant) in enumerate(places):
            for attempt in range(20):
                pictures[row] = written(drawings[character], f"{script} {number} {character} {variant} {attempt}")
                if pictures[row].tobytes() not in seen:
                    break
            seen.add(pictures[row].tobytes())
        found[split] = pictures
    return script, number, found


def make(folder: Path, processes: int) -> None:
    """Render both files into `folder` and report hashes that are not the known ones. Raises DataError without fonts."""
    patterns = [pattern for fonts in SCRIPTS.values() for pattern in fonts]
    characters = common_characters(patterns)
    train, test = hold_out(characters, TEST_CHARACTERS)
    print(f"characters in every font: {len(characters)}; {len(train)} for training, {len(test)} held out")
    plans = {"train": Plan(train, VARIANTS["train"]), "test": Plan(test, VARIANTS["test"])}
    tasks = [
        (pattern, script, number, plans)
        for script, fonts in enumerate(SCRIPTS.values())
        for number, pattern in enumerate(fonts)
    ]
    images = {split: np.zeros((len(plan), SIDE, SIDE, 1), np.uint8) for split, plan in plans.items()}
    with ProcessPoolExecutor(processes) as pool:
        for script, number, found in pool.map(write_font, tasks):
            for split, pictures in found.items():
                images[split][[place for place, *_ in plans[split].places(script, number)], ..., 0] = pictures
    folder.mkdir(parents=True, exist_ok=True)
    for split, pictures in images.items():
        labels = (np.arange(len(pictures)) % len(SCRIPTS)).astype(np.uint8)
        write_npz(folder / f"{split}.npz", {"images": pictures, "labels": labels})
        print(f"{split}.npz: {(folder / f'{split}.npz').stat().st_size} bytes, sha256 of the images {sha256(pictures)}")
        if sha256(pictures) != IMAGES_SHA256[split]:
            print(f"{split}: another hash than IMAGES_SHA256; is this another version of Pillow (FreeType)?")


def sha256(array: np.ndarray) -> str:
    """Return the hex sha256 of the bytes of `array` in C order."""
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write `arrays` as a deflated .npz file without time stamps, completely or not at all."""
    partial = path.with_name(f".{path.name}")
    with zipfile.ZipFile(partial, "w") as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # the default depends on the machine
            archive.writestr(info, data.getvalue())
    partial.replace(path)


def load(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 32, 32, 1) and labels (N,), both uint8, of a packed file."""
    with np.load(folder / f"{split}.npz", allow_pickle=False) as archive:
        require(sorted(archive.files) == ["images", "labels"], f"{split}.npz holds {archive.files}")
        return archive["images"], archive["labels"]


def check_pictures(split: str, images: np.ndarray, labels: np.ndarray, count: int) -> None:
    """Raise DataError unless there are `count` pictures, scripts in turn, each with ink and a border of paper."""
    require(
        images.dtype == np.uint8 and images.shape == (count, SIDE, SIDE, 1),
        f"{split}: images are {images.dtype} {images.shape}, not {count} pictures",
    )
    require(
        labels.dtype == np.uint8 and np.array_equal(labels, np.arange(count) % len(SCRIPTS)),
        f"{split}: label i is not i % {len(SCRIPTS)}",
    )
    border = np.concatenate([images[:, [0, -1]].reshape(count, -1), images[:, :, [0, -1]].reshape(count, -1)], axis=1)
    require(bool((border == 255).all()), f"{split}: a character touches the border of its picture")
    require(bool((images.reshape(count, -1).min(axis=1) < 128).all()), f"{split}: a picture has no dark ink")


def require_different(images: np.ndarray) -> None:
    """Raise DataError, with their number, if pictures occur more than once."""
    different = len({picture.tobytes() for picture in images})
    require(different == len(images), f"{len(images) - different} pictures occur more than once")


def nearest(queries: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Return the RMS distance of each query (n, ...) to its nearest picture in the pool, in levels; both uint8."""
    flat = queries.reshape(len(queries), -1).astype(np.float32)
    squares = np.full(len(queries), np.inf)
    for start in range(0, len(pool), 10_000):
        part = pool[start : start + 10_000].reshape(-1, flat.shape[1]).astype(np.float32)
        found = (flat**2).sum(1)[:, None] - 2 * flat @ part.T + (part**2).sum(1)[None]
        squares = np.minimum(squares, found.min(axis=1))
    return np.sqrt(np.maximum(squares, 0) / flat.shape[1])


def percentiles(values: np.ndarray, digits: int = 1) -> str:
    """Return the minimum, some percentiles and the maximum as text."""
    points = {"min": 0, "5 %": 5, "25 %": 25, "median": 50, "75 %": 75, "95 %": 95, "max": 100}
    return ", ".join(f"{name} {np.percentile(values, point):.{digits}f}" for name, point in points.items())


def check(folder: Path) -> None:
    """Verify both files and print the figures that the README quotes."""
    characters = common_characters([pattern for fonts in SCRIPTS.values() for pattern in fonts])
    train, test = hold_out(characters, TEST_CHARACTERS)
    require(not set(train) & set(test), "a character is in both files")
    level_1 = set(gb2312()[:3755])
    print(f"characters: {len(train)} for training ({len(level_1 & set(train))} of level 1)")
    print(f"            {len(test)} held out ({len(level_1 & set(test))} of level 1)")
    loaded = {}
    for split, shown in (("train", train), ("test", test)):
        images, labels = load(folder, split)
        check_pictures(split, images, labels, len(Plan(shown, VARIANTS[split])))
        require(sha256(images) == IMAGES_SHA256[split], f"{split}: the images have the sha256 {sha256(images)}")
        loaded[split] = images
        print(f"{split}.npz: {(folder / f'{split}.npz').stat().st_size} bytes, {len(images)} pictures")
        print(f"  of each script {len(images) // len(SCRIPTS)}, sha256 of the images {sha256(images)}")
        print(f"  paper (exactly 255): {100 * (images == 255).mean():.1f} % of the pixels")
        print(f"  scaled to -1..1: mean {images.mean() / 127.5 - 1:.3f}, standard deviation {images.std() / 127.5:.3f}")
        for label, script in enumerate(SCRIPTS):
            print(f"  {script}: mean level {images[labels == label].mean():.1f}")
    require_different(np.concatenate(list(loaded.values())))
    queries = loaded["test"][:QUERIES]
    chosen = np.random.default_rng(0).choice(len(loaded["train"]), QUERIES, replace=False)
    apart = np.sqrt(((queries.astype(np.float64) - loaded["train"][chosen]) ** 2).mean(axis=(1, 2, 3)))
    print(f"RMS distance in levels of the first {QUERIES} test pictures")
    print(f"  to the nearest training picture: {percentiles(nearest(queries, loaded['train']))}")
    print(f"  to a random training picture:    {percentiles(apart)}")
    print("all checks passed")


def preview(folder: Path, path: Path) -> None:
    """Write a sheet of 20 training characters: one script per row, one character per column."""
    images, _ = load(folder, "train")
    scale, gap, columns = 2, 4, 20
    first = images[: len(images) // VARIANTS["train"]].reshape(-1, len(SCRIPTS), SIDE, SIDE)
    shown = first[np.linspace(0, len(first) - 1, columns).astype(int)].transpose(1, 0, 2, 3)
    large = shown.repeat(scale, axis=2).repeat(scale, axis=3)
    padded = np.pad(large, ((0, 0), (0, 0), (gap, gap), (gap, gap)), constant_values=255)
    sheet = padded.transpose(0, 2, 1, 3).reshape(len(SCRIPTS) * padded.shape[2], columns * padded.shape[3])
    Image.fromarray(sheet).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size} bytes; rows from the top: {', '.join(SCRIPTS)}")


def default_folder() -> Path:
    """Return hanzi/ in $DDPM_LAB_DATA, else in data/ of the repository: where the training looks."""
    return Path(os.environ.get("DDPM_LAB_DATA") or HERE.parents[1] / "data") / "hanzi"


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Make, check or show the hanzi data set.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="verify the files, print figures")
    what.add_argument("--preview", action="store_true", help="write preview.png beside this script")
    parser.add_argument("--folder", type=Path, default=default_folder(), help="where the .npz files lie")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="fonts drawn at a time")
    arguments = parser.parse_args()
    try:
        if arguments.check:
            check(arguments.folder)
        elif arguments.preview:
            preview(arguments.folder, HERE / "preview.png")
        else:
            make(arguments.folder, arguments.processes)
    except (DataError, OSError, ValueError, zipfile.BadZipFile) as error:
        print(f"make.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # any terminal or pipe, whatever its encoding
    sys.exit(main())
