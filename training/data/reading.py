"""Reads many pictures into one array. What a file is, its content decides; files that are not read are counted."""

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from diffusion.depth import Extremes, Scale, deep_levels, fit_levels, is_deep
from diffusion.pixels import fit, in_mode
from training.data.finding import kind_of
from training.data.pictures import DataError
from training.data.tally import Tally

# For others, Pillow starts external programs (EPS), guesses (fonts, MPEG) or only reads the header (HDF5, WMF)
FORMATS = (
    "PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "HEIF", "JPEG2000", "ICO", "QOI", "PSD",
    "PCX", "SGI", "DDS",
)  # fmt: skip
FRAMED = {"GIF", "TIFF", "PNG", "WEBP", "AVIF"}  # several frames are several pictures; an MPO's are views of one
PICTURE_SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif",
    ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".ico", ".qoi", ".tga", ".psd",
}  # fmt: skip
OTHER_SUFFIXES = {
    ".svg", ".svgz", ".eps", ".ai", ".pdf", ".jxl", ".exr", ".hdr", ".dcm", ".xcf", ".kra", ".cr2", ".cr3", ".nef",
    ".arw", ".dng", ".raf", ".orf", ".rw2", ".mp4", ".mov", ".m4v", ".webm", ".avi", ".mkv", ".npy", ".npz", ".mat",
    ".parquet", ".tfrecord", ".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".h5", ".hdf5", ".idx",
}  # fmt: skip
RAW_SUFFIXES = {".cr2", ".nef", ".arw", ".dng", ".orf", ".rw2", ".pef", ".srw"}  # a TIFF, whose first page is small
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
DEFAULT_SIZE = 32
warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # such a picture is counted as too large


class NotRead(Exception):
    """A file is left out. reason: as it is counted; detail: what was wrong with this one."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Source:
    """A picture to read: its name for the user, and its file or its bytes (None: missing)."""

    name: str
    content: Path | bytes | None

    @property
    def kind(self) -> str:
        """The suffix it is counted under."""
        return kind_of(PurePath(self.name)) if isinstance(self.content, Path) else "rows"

    def open(self) -> Image.Image:
        """Open the picture; its pixels are not decoded yet. Raises NotRead."""
        if self.content is None:
            raise NotRead("missing", "there is no picture")
        try:
            stored = io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content
            picture = Image.open(stored, formats=_formats(self.kind == ".tga"))
        except UnidentifiedImageError:
            raise NotRead(*self._why_unknown()) from None
        except Image.DecompressionBombError as error:
            raise NotRead("too large", str(error)) from error
        except Exception as error:  # Pillow's plug-ins raise anything, from struct.error to RuntimeError
            known = self.kind in PICTURE_SUFFIXES or self.kind == "rows"
            raise NotRead("broken" if known else "not a picture", str(error)) from error
        if why := _misread(picture, self.kind):
            picture.close()
            raise NotRead("of a kind that is not read", why)
        if picture.width * picture.height > Image.MAX_IMAGE_PIXELS:
            picture.close()
            raise NotRead("too large", f"{picture.width} x {picture.height} pixels")
        return picture

    def _why_unknown(self) -> tuple[str, str]:
        head = self.content[:16] if isinstance(self.content, bytes) else _head(self.content)
        if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS and "HEIF" not in _formats():
            return "HEIC, which needs pip install pillow-heif", ""
        if head[:4] in (b"II*\0", b"MM\0*"):
            return "of a kind that is not read", "a TIFF of a form that Pillow does not read"
        if self.kind in PICTURE_SUFFIXES or self.kind == "rows":
            return "broken", "is empty" if not head else "is no picture that Pillow reads"
        return "of a kind that is not read" if self.kind in OTHER_SUFFIXES else "not a picture", ""


@dataclass(frozen=True)
class Frames:
    """What one file holds. pixels: (size, size, 1 or 3), uint8, or float32 levels of a deep picture."""

    pixels: list[np.ndarray]
    extremes: list[Extremes]  # of deep pictures; empty for 8 bits
    not_finite: int
    frames: int


@dataclass(frozen=True)
class ReadPictures:
    """All pictures that could be read. images: (N, size, size, 3) uint8; source: (N,) positions in the sources.

    notes: what was decided on the way; warnings: what should not be missed.
    """

    images: np.ndarray
    source: np.ndarray
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def _misread(picture: Image.Image, kind: str) -> str | None:
    """Say why the pixels that Pillow would return are not the picture's; None if they are."""
    if picture.format != "TIFF":
        return None
    tags = picture.tag_v2
    bits, planes = tags.get(258, (1,)), tags.get(284, 1)
    if kind in RAW_SUFFIXES:
        return "a camera's raw file, of which Pillow reads a small preview"
    if planes == 2 and max(bits) > 8:
        return "a TIFF of more than 8 bits whose channels lie apart"
    if max(bits) > 8 and tags.get(262) == 0:
        return "a TIFF of more than 8 bits in which 0 is white"
    return None


def identify(sources: Sequence[Source], tally: Tally) -> list[Source]:
    """Return the sources that are pictures, by their content; the tally gets the others."""

    def look(source: Source) -> None:
        source.open().close()

    return [sources[position] for position, _ in _each(sources, look, tally, "looking at files")]


def read_all(sources: Sequence[Source], size: int, resample: str, every_frame: bool, tally: Tally) -> ReadPictures:
    """Read all pictures, those of more than 8 bits on one scale; the tally gets the unreadable ones.

    every_frame: take all frames of a file, else the first. Raises DataError if no picture can be read.
    """
    method = Image.Resampling[resample.upper()]

    def read(source: Source) -> Frames:
        with source.open() as picture:
            try:
                return _frames(picture, size, method, every_frame)
            except Exception as error:
                raise NotRead("broken", str(error)) from error

    found = _each(sources, read, tally, "reading pictures")
    if not found:
        first = f"; the first: {tally.examples['broken'][0]}" if tally.examples["broken"] else ""
        raise DataError(f"data: none of the {len(sources)} pictures could be read{first}")
    scales, notes = _scales([frames for _, frames in found])
    images, positions = [], []
    for position, frames in found:
        for number, pixels in enumerate(frames.pixels):
            if frames.extremes:
                pixels = scales[frames.extremes[number].whole].to_8_bits(pixels)
            images.append(in_mode(pixels, "RGB"))
            positions.append(position)
    return ReadPictures(
        np.stack(images),
        np.array(positions, dtype=np.int64),
        tuple(notes + _told_frames([frames for _, frames in found], every_frame)),
        tuple(_told_not_finite([frames for _, frames in found])),
    )


def _frames(picture: Image.Image, size: int, method: Image.Resampling, every_frame: bool) -> Frames:
    count = 1
    if picture.format in FRAMED:
        with contextlib.suppress(*([] if every_frame else [Exception])):  # a later frame may be damaged
            count = getattr(picture, "n_frames", 1)
    pixels, extremes, not_finite = [], [], 0
    for number in range(count if every_frame else 1):
        if number:
            picture.seek(number)
        if is_deep(picture):
            levels, found = deep_levels(picture)
            not_finite += found.not_finite
            pixels.append(fit_levels(levels, size, method))
            extremes.append(found)
        else:
            pixels.append(fit(picture, size, "RGB", method))
    if extremes and len(extremes) < len(pixels):
        raise ValueError("has frames of 8 bits and of more")
    return Frames(pixels, extremes, not_finite, count)


def _scales(found: Sequence[Frames]) -> tuple[dict[bool, Scale], list[str]]:
    """Return the scale of whole numbers (True) and that of floats (False), and lines that tell them."""
    scales, notes = {}, []
    for whole, kind in ((True, "whole numbers"), (False, "floats")):
        extremes = [one for frames in found for one in frames.extremes if one.whole == whole]
        if extremes:
            over = Extremes.over(extremes)
            scales[whole] = Scale.choose(over)
            notes.append(
                f"{len(extremes)} pictures of more than 8 bits ({kind} from {over.low:g} to {over.high:g}) are brought "
                f"to 8 on one scale: {scales[whole]}"
            )
    return scales, notes


def _told_frames(found: Sequence[Frames], every_frame: bool) -> list[str]:
    several = [frames.frames for frames in found if frames.frames > 1]
    if not several:
        return []
    files = f"{len(several)} files hold {sum(several)} frames"
    return [
        f"{files}: each is a picture" if every_frame else f"{files}: the first of each is used; --frames all takes each"
    ]


def _told_not_finite(found: Sequence[Frames]) -> list[str]:
    files = [frames.not_finite for frames in found if frames.not_finite]
    if not files:
        return []
    return [
        f"{len(files)} pictures have {sum(files)} levels that are NaN or infinite; NaN becomes the picture's darkest"
    ]


def _each(sources: Sequence[Source], work: Callable, tally: Tally, doing: str) -> list[tuple[int, object]]:
    """Do the work for every source, in threads. Returns (position, result) of those that were read."""

    def tried(source: Source):
        try:
            return work(source)
        except NotRead as why:
            return why

    with ThreadPoolExecutor() as pool:  # Pillow releases Python's lock while decoding
        results = list(tqdm(pool.map(tried, sources), total=len(sources), desc=doing, leave=False))
    for source, result in zip(sources, results, strict=True):
        if isinstance(result, NotRead):
            tally.add(result.reason, source.name, source.kind, result.detail)
    return [(position, result) for position, result in enumerate(results) if not isinstance(result, NotRead)]


def own_size(sources: Sequence[Source], largest: int = 256) -> int:
    """Return the side of the pictures if all are squares of one size up to `largest`, else the default size."""
    sizes = set()
    for source in sources:
        try:
            with source.open() as picture:
                sizes.add(picture.size)
        except NotRead:
            continue
        if len(sizes) > 1:
            break
    width, height = sizes.pop() if len(sizes) == 1 else (0, 1)
    return width if width == height <= largest else DEFAULT_SIZE


def with_channels(color: str, images: np.ndarray) -> np.ndarray:
    """Convert RGB pictures to "grey" or "rgb"; "auto" is grey only if every picture is grey."""
    if color == "auto":
        color = "grey" if (images == images[..., :1]).all() else "rgb"
    return images if color == "rgb" else np.stack([in_mode(image, "L") for image in images])


@cache
def _formats(with_tga: bool = False) -> tuple[str, ...]:
    """Return the formats that can be opened here. TGA has no mark of its own, so its suffix must say it."""
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except ImportError:
        pass
    Image.init()
    return tuple(name for name in FORMATS + ("TGA",) * with_tga if name in Image.OPEN)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError:
        return b""
