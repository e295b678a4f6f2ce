"""What reproduces and verifies a picture: settings, checkpoint's hash, how it was computed, hash of the pixels.

It travels in a PNG's text chunk, as JSON, and the settings alone in the query of an address. Both ways in are open to
anybody, so everything that comes back is checked like a stranger's.
"""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlencode

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diffusion.errors import FieldError, of_validation
from diffusion.settings import SETTINGS, SamplingSettings

if TYPE_CHECKING:
    from diffusion.denoisers import Description

KEYWORD = "ddpm-lab"  # of the PNG text chunk
FORMAT = 1
MAX_PICTURE_BYTES, MAX_SIDE, MAX_TEXT = 8_000_000, 4096, 200_000  # bytes, pixels, characters
MAX_VALUE = 2000  # characters of one parameter of an address

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Word = Annotated[str, Field(max_length=40)]


class Recipe(BaseModel):
    """The recipe of the pictures in one PNG. Raises FieldError with one line a field.

    settings: of the run that makes just these pictures (a single one has its own seed). batch: how many went through
    the network together; together and alone they agree to the last digits of float32, which may turn a pixel by one
    level. pixels_sha256: of the pictures' bytes, (N, H, W, C) uint8. checkpoint_sha256: see checkpoint_sha256().
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = FORMAT
    settings: SamplingSettings
    checkpoint_sha256: Sha256
    pixels_sha256: Sha256
    batch: int = Field(ge=1, le=65_536)
    engine: Word
    threads: int = Field(ge=1, le=4096)
    precision: Word
    versions: dict[Word, Word] = Field(max_length=8)

    def __init__(self, **fields):
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise of_validation(error) from None

    @classmethod
    def of(
        cls, settings: SamplingSettings, images: np.ndarray, checkpoint_sha256: str, batch: int, made_by: "Description"
    ) -> Self:
        """The recipe of pictures that were just made. images: (N, H, W, C) uint8."""
        return cls(
            settings=settings,
            checkpoint_sha256=checkpoint_sha256,
            pixels_sha256=pixels_sha256(images),
            batch=batch,
            engine=made_by.engine,
            threads=made_by.threads,
            precision=made_by.precision,
            versions={name: version(name) for name in sorted({"torch", "diffusers", made_by.engine.partition("-")[0]})},
        )

    def to_json(self) -> str:
        """One line."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The recipe in a text. Raises FieldError (a sentence a field)."""
        if len(text) > MAX_TEXT:
            raise FieldError("recipe", "recipe_long", most=f"{MAX_TEXT:,}")
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:  # a number of thousands of digits is no JSONDecodeError
            raise FieldError("recipe", "not_json", reason=str(error)) from None
        if not isinstance(fields, dict):
            raise FieldError("recipe", "json_object", kind=type(fields).__name__)
        if isinstance(number := fields.get("format"), int) and number > FORMAT:
            raise FieldError("recipe", "newer_recipe", got=number, known=FORMAT)
        if not isinstance(fields.get("settings"), dict):
            raise FieldError("settings", "no_settings")
        return cls(**fields | {"settings": SamplingSettings.from_json(json.dumps(fields["settings"]))})


def pixels_sha256(images: np.ndarray) -> str:
    """The hash of pictures: their (N, H, W, C) uint8 in C order."""
    return hashlib.sha256(np.ascontiguousarray(images, dtype=np.uint8)).hexdigest()


def png_text(recipe: Recipe) -> PngInfo:
    """What Pillow needs to write a recipe into a PNG."""
    info = PngInfo()
    info.add_text(KEYWORD, recipe.to_json())
    return info


def read_png(content: bytes) -> tuple[Recipe, Image.Image]:
    """The recipe in a PNG file, and its picture. Raises FieldError: why there is none, in a sentence."""
    if len(content) > MAX_PICTURE_BYTES:
        raise FieldError("picture", "file_large", most=MAX_PICTURE_BYTES // 10**6)
    try:
        image = PngImageFile(io.BytesIO(content))
        if max(image.size) > MAX_SIDE:  # before anything is unpacked
            raise FieldError("picture", "picture_large", most=MAX_SIDE)
        image.load()
        text = image.text.get(KEYWORD)
    except FieldError:
        raise
    except (OSError, SyntaxError, Image.DecompressionBombError, EOFError, ArithmeticError, ValueError) as error:
        raise FieldError("picture", "no_png") from error
    if text is None:
        raise FieldError("picture", "no_recipe")
    return Recipe.from_json(str(text)), image


Verdict = Literal["identical", "close", "different"]


def compare(a: np.ndarray, b: np.ndarray) -> tuple[Verdict, int, int]:
    """How two uint8 arrays of one shape agree: the verdict, the largest difference in levels, and how many differ.

    "identical"; "close": nowhere more than one level of 255; "different": more, or of another shape (then 255 and all).
    """
    if a.shape != b.shape:
        return "different", 255, max(a.size, b.size)
    difference = np.abs(a.astype(np.int16) - b.astype(np.int16))
    most, count = int(difference.max(initial=0)), int((difference > 0).sum())
    return ("identical" if most == 0 else "close" if most == 1 else "different"), most, count


# Addresses -----------------------------------------------------------------------------------------------------------


def to_query(settings: SamplingSettings) -> str:
    """The settings as the query of an address: every field that has a value, so that no later default changes it."""
    return urlencode([(name, _as_text(value)) for name, value in settings if value is not None])


def from_query(query: Mapping[str, str]) -> SamplingSettings | None:
    """The settings in an address; None where it names no field. What belongs to others in it is passed over.

    Raises FieldError.
    """
    known = {name: query[name] for name in SETTINGS if name in query}
    return SamplingSettings(**{name: from_text(name, text) for name, text in known.items()}) if known else None


def _as_text(value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def from_text(field: str, text: str):
    """A parameter as the type that its field takes; what is none is left for the settings to refuse."""
    text = str(text)
    if len(text) > MAX_VALUE:
        raise FieldError(field, "too_long", most=MAX_VALUE, got=len(text))
    kinds = SETTINGS[field].kinds
    if tuple in kinds and "," in text:
        return tuple(_number(part, int) for part in text.split(","))
    if bool in kinds:
        return {"yes": True, "no": False}.get(text, text)
    for kind in (int, float):
        if kind in kinds:
            return _number(text, kind)
    return text


def _number(text: str, kind: type):
    pattern = r"[+-]?\d{1,18}" if kind is int else r"[+-]?(\d{1,18}\.?\d{0,18}|\.\d{1,18})([eE][+-]?\d{1,3})?"
    return kind(text) if re.fullmatch(pattern, text, re.ASCII) else text
