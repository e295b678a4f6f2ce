"""Reads many pictures into one array and skips those that are broken."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from diffusion.pixels import fit
from training.data.pictures import DataError, Pictures

FEW_PICTURES = 1000  # with fewer, a DDPM trained from scratch mostly memorises its pictures
FEW_IN_A_CLASS = 10
NAMED_IN_WARNING = 5
DEFAULT_SIZE = 32


@dataclass(frozen=True)
class Source:
    """A picture to read: its name for the user, and its file or its bytes (None: missing)."""

    name: str
    content: Path | bytes | None

    def open(self) -> Image.Image:
        """Open the picture. Raises ValueError if it is missing, and whatever Pillow raises."""
        if self.content is None:
            raise ValueError("there is no picture")
        return Image.open(io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content)


def read_all(sources: Sequence[Source], size: int, resample: str, broken: list[str]) -> tuple[np.ndarray, list[int]]:
    """Read all pictures. Returns (N, size, size, 3) uint8, and their positions in `sources`.

    Unreadable pictures are appended to `broken` with the reason. Raises DataError if none can be read.
    """
    method = Image.Resampling[resample.upper()]

    def read(source: Source) -> np.ndarray | str:
        try:
            with source.open() as picture:
                return fit(picture, size, "RGB", method)
        except Exception as error:  # Pillow's plug-ins raise anything, from struct.error to RuntimeError
            return f"{source.name} ({error})"

    with ThreadPoolExecutor() as pool:  # Pillow releases Python's lock while decoding
        results = list(tqdm(pool.map(read, sources), total=len(sources), desc="reading pictures", leave=False))
    kept = [position for position, result in enumerate(results) if not isinstance(result, str)]
    broken += [result for result in results if isinstance(result, str)]
    if not kept:
        raise DataError(f"data: none of the {len(sources)} pictures could be read; the first: {broken[0]}")
    return np.stack([results[position] for position in kept]), kept


def own_size(sources: Sequence[Source], largest: int = 256) -> int:
    """Return the side of the pictures if all are squares of one size up to `largest`, else the default size."""
    sizes = set()
    for source in sources:
        try:
            with source.open() as picture:
                sizes.add(picture.size)
        except Exception:
            continue
        if len(sizes) > 1:
            break
    width, height = sizes.pop() if len(sizes) == 1 else (0, 1)
    return width if width == height <= largest else DEFAULT_SIZE


def with_channels(color: str, splits: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Convert RGB pictures to "grey" or "rgb"; "auto" is grey only if every picture of every split is grey."""
    if color == "auto":
        color = "grey" if all((images == images[..., :1]).all() for images in splits) else "rgb"
    if color == "rgb":
        return list(splits)
    return [np.stack([np.asarray(Image.fromarray(i).convert("L"))[..., None] for i in images]) for images in splits]


def warnings_of(train: Pictures, class_names: tuple[str, ...] | None, broken: list[str]) -> tuple[str, ...]:
    """Return warnings that the user should see before spending hours on these data."""
    found = []
    if broken:
        named = "; ".join(broken[:NAMED_IN_WARNING]) + ("; ..." if len(broken) > NAMED_IN_WARNING else "")
        found.append(f"{len(broken)} pictures could not be read and are left out: {named}")
    if len(train) < FEW_PICTURES:
        found.append(
            f"only {len(train)} training pictures: from scratch, a network memorises fewer than {FEW_PICTURES}. "
            "More pictures, or --init-from a shipped checkpoint, help"
        )
    if class_names:
        counts = np.bincount(train.labels, minlength=len(class_names))
        if counts.min() < FEW_IN_A_CLASS:
            found.append(f"the class {class_names[counts.argmin()]} has only {counts.min()} training pictures")
    return tuple(found)
