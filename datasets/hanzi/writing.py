"""Writes Chinese characters as small grey pictures: the characters, the open fonts, and the variations of a brush."""

import hashlib
import io
from math import cos, radians, sin
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image, ImageFilter, ImageFont

HERE = Path(__file__).resolve().parent
SIDE = 32
FINE = 4  # pixels of the drawing per pixel of the picture, along each side; 256 levels of coverage
# Script: its fonts, each a pattern of the files that together make the font
FONTSOURCE = "node_modules/@fontsource/{0}/files/{0}-[0-9]*-400-normal.woff"
SCRIPTS = {
    "楷书": (
        FONTSOURCE.format("ma-shan-zheng"),
        "node_modules/lxgw-wenkai-webfont/files/lxgwwenkai-regular-subset-[0-9]*.woff2",
    ),
    "行书": (FONTSOURCE.format("zhi-mang-xing"),),
    "行楷": (FONTSOURCE.format("long-cang"),),
    "草书": (FONTSOURCE.format("liu-jian-mao-cao"),),
    "宋体": (FONTSOURCE.format("noto-serif-sc"),),
    "黑体": (FONTSOURCE.format("noto-sans-sc"),),
}
TYPICAL = 25.0  # longer side of a font's median character, in pixels of the picture
LARGEST = 28.0  # upper limit of any character's longer side
MARGIN = 1.5  # pixels of paper around the outline, before the brush thickens
BLUR = 1.2  # standard deviation, in pixels of the drawing, of the blur whose levels make a stroke thicker or thinner
RAMP = 3.0  # steepness of the edge afterwards; RAMP * EDGE[0] >= 0.5 keeps the paper at 255
# Variations of the brush, each uniform between two ends
SIZE = (0.88, 1.08)
ASPECT = (-0.05, 0.05)  # positive: wider and flatter
SHIFT = (-2.0, 2.0)  # pixels of the picture, along and across
TURN = (-2.5, 2.5)  # degrees
SLANT = (-0.06, 0.06)  # tangent of the slope of the verticals
EDGE = (0.22, 0.56)  # level of the blurred drawing that becomes the edge: low is a thick brush, high a thin one


class DataError(Exception):
    """The data or the fonts are not what this script expects."""


def require(condition: bool, message: str) -> None:
    """Raise DataError with `message` unless `condition` holds."""
    if not condition:
        raise DataError(message)


def gb2312() -> list[str]:
    """Return the 6,763 characters of GB 2312 in its order: rows 16 to 55 are level 1, rows 56 to 87 level 2."""
    found = []
    for row in range(16, 88):
        for cell in range(1, 95):
            try:
                found.append(bytes([row + 160, cell + 160]).decode("gb2312"))
            except UnicodeDecodeError:
                continue  # row 55 ends early
    return found


def hold_out(characters: list[str], count: int) -> tuple[list[str], list[str]]:
    """Split into characters for training and `count` for testing, by their hashes; both keep their order."""
    chosen = set(sorted(characters, key=lambda c: hashlib.sha256(f"hanzi {c}".encode()).digest())[:count])
    return [c for c in characters if c not in chosen], [c for c in characters if c in chosen]


def numbers(seed: str) -> list[float]:
    """Return eight numbers in [0, 1) from the hash of a text, independent of all library versions."""
    words = np.frombuffer(hashlib.sha256(seed.encode()).digest(), ">u4")
    return [int(word) / 2**32 for word in words]


class Font:
    """One font, assembled from slices."""

    def __init__(self, files: list[Path]):
        """Read the slices. Raises DataError if there are none."""
        require(bool(files), "no files of a font: run `npm ci` in datasets/hanzi first")
        self.slices: dict[str, bytes] = {}  # character: the slice that draws it, as TrueType or OpenType
        for file in files:
            opened = TTFont(file)
            opened.flavor = None  # unpacks WOFF, which not every FreeType reads
            unpacked = io.BytesIO()
            opened.save(unpacked, reorderTables=None)
            for code in opened.getBestCmap() or ():
                self.slices.setdefault(chr(code), unpacked.getvalue())
        self.size = 100
        self.opened: dict[int, ImageFont.FreeTypeFont] = {}

    def drawing(self, character: str) -> Image.Image:
        """Return a character's ink, mode L, cropped to its outline; 255 is ink. Raises DataError if there is none."""
        data = self.slices[character]
        if id(data) not in self.opened:
            self.opened[id(data)] = ImageFont.truetype(
                io.BytesIO(data), self.size, layout_engine=ImageFont.Layout.BASIC
            )
        mask, _ = self.opened[id(data)].getmask2(character, mode="L")
        ink = Image.frombytes("L", mask.size, bytes(mask)) if all(mask.size) else Image.new("L", (1, 1))
        box = ink.getbbox()
        require(box is not None, f"{character}: the font draws nothing")
        return ink.crop(box)

    def fit(self, characters: list[str]) -> "Font":
        """Choose the size at which the median of these characters is TYPICAL pixels long. Returns this font."""
        longest = sorted(max(self.drawing(character).size) for character in characters)
        self.size = round(self.size * TYPICAL * FINE / longest[len(longest) // 2])
        self.opened.clear()
        return self


def written(ink: Image.Image, seed: str, edges: tuple[float, float] = EDGE) -> np.ndarray:
    """Return a drawing as a picture (SIDE, SIDE) uint8, varied by `seed`: dark ink on paper of exactly 255."""
    drawn = numbers(seed)
    size, aspect, right, down, turn, slant, edge = (
        low + share * (high - low)
        for share, (low, high) in zip(drawn, (SIZE, ASPECT, SHIFT, SHIFT, TURN, SLANT, edges), strict=False)
    )
    c, s = cos(radians(turn)), sin(radians(turn))
    # Forwards, from the drawing about its centre to the picture about its own: slant, then stretch, then turn
    forward = np.array([[c, -s], [s, c]]) @ np.diag([1 + aspect, 1 - aspect]) @ np.array([[1, slant], [0, 1]]) * size
    extent = np.abs(forward) @ np.array(ink.size)
    shrunk = min(1.0, LARGEST * FINE / extent.max())
    forward, extent = forward * shrunk, extent * shrunk
    room = np.maximum(0, (SIDE - 2 * MARGIN) * FINE - extent) / 2
    centre = SIDE * FINE / 2 + np.clip(np.array([right, down]) * FINE, -room, room)
    pad = 4  # paper around the drawing, so that its border is not smeared
    padded = Image.new("L", (ink.width + 2 * pad, ink.height + 2 * pad))
    padded.paste(ink, (pad, pad))
    back = np.linalg.inv(forward)
    start = np.array(padded.size) / 2 - back @ centre
    fine = (SIDE * FINE, SIDE * FINE)
    coefficients = (*back[0], start[0], *back[1], start[1])
    moved = padded.transform(fine, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    blurred = moved.filter(ImageFilter.GaussianBlur(BLUR))
    levels = np.clip((np.arange(256) / 255 - edge) * RAMP + 0.5, 0, 1)
    weighed = blurred.point(np.rint(255 * levels).astype(int).tolist())
    return 255 - np.asarray(weighed.reduce(FINE))


def read_font(pattern: str) -> Font:
    """Read the font of a pattern of SCRIPTS, with its files in an order that does not depend on the disk."""
    return Font(sorted(HERE.glob(pattern)))


def common_characters(patterns: list[str], folder: Path = HERE) -> list[str]:
    """Return the characters of GB 2312, in its order, that all of these fonts have."""
    known = set(gb2312())
    for pattern in patterns:
        files = sorted(folder.glob(pattern))
        require(bool(files), f"{pattern}: no such files; run `npm ci` in datasets/hanzi first")
        known &= {chr(code) for file in files for code in TTFont(file, lazy=True).getBestCmap() or ()}
    return [character for character in gb2312() if character in known]
