"""A recipe reproduces and verifies a picture: settings, checkpoint hash, how it was computed, hash of the pixels.

It travels as JSON in a PNG's text chunk; the query of a URL carries the settings alone. Anyone can write either, so
everything that is read back is checked as untrusted input.
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
from pydantic import ConfigDict, Field

from diffusion.decoding import check_header, decoding
from diffusion.errors import CheckedModel, FieldError
from diffusion.random_seed import with_drawn_seed
from diffusion.settings import SETTINGS, SamplingSettings

if TYPE_CHECKING:
    from diffusion.denoisers import Description

KEYWORD = "ddpm-lab"  # of the PNG text chunk
FORMAT = 1
MAX_PICTURE_BYTES, MAX_TEXT = 8_000_000, 200_000  # bytes, characters
MAX_VALUE = 2000  # characters of one URL parameter

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Word = Annotated[str, Field(max_length=40)]


class Recipe(CheckedModel):
    """The recipe of the pictures in one PNG. Raises FieldError with one line per field.

    settings: of the run that makes exactly these pictures (a single one has its own seed). batch: pictures that went
    through the network together; together and alone they agree to the last digits of float32, which can change a pixel
    by one level. pixels_sha256: of the pictures' bytes, (N, H, W, C) uint8. checkpoint_sha256: see checkpoint_sha256().
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

    @classmethod
    def of(cls, settings: SamplingSettings, images: np.ndarray, batch: int, made_by: "Description") -> Self:
        """Return the recipe of new pictures. images: (N, H, W, C) uint8.

        made_by: the description of the denoiser; its network was read from a folder.
        """
        return cls(
            settings=settings,
            checkpoint_sha256=made_by.checkpoint_sha256,
            pixels_sha256=pixels_sha256(images),
            batch=batch,
            engine=made_by.engine,
            threads=made_by.threads,
            precision=made_by.precision,
            versions={name: version(name) for name in sorted({"torch", "diffusers", made_by.engine.partition("-")[0]})},
        )

    def to_json(self) -> str:
        """Return the recipe as one line of JSON."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a recipe from a text. Raises FieldError (one sentence per field)."""
        if len(text) > MAX_TEXT:
            raise FieldError("recipe", "recipe_long", most=f"{MAX_TEXT:,}")
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:  # thousands of digits raise no JSONDecodeError
            raise FieldError("recipe", "not_json", reason=str(error)) from None
        if not isinstance(fields, dict):
            raise FieldError("recipe", "json_object", kind=type(fields).__name__)
        if isinstance(number := fields.get("format"), int) and number > FORMAT:
            raise FieldError("recipe", "newer_recipe", got=number, known=FORMAT)
        if not isinstance(fields.get("settings"), dict):
            raise FieldError("settings", "no_settings")
        return cls(**fields | {"settings": SamplingSettings.from_json(json.dumps(fields["settings"]))})


def pixels_sha256(images: np.ndarray) -> str:
    """Return the SHA-256 of pictures: of their (N, H, W, C) uint8 in C order."""
    return hashlib.sha256(np.ascontiguousarray(images, dtype=np.uint8)).hexdigest()


def png_text(recipe: Recipe, size: tuple[int, int] | None = None) -> PngInfo:
    """Return the PNG text chunks that carry a recipe, for Pillow. size: (width, height) of one picture, if known."""
    info = PngInfo()
    info.add_text(KEYWORD, recipe.to_json())
    info.add_text("parameters", webui_parameters(recipe, size))
    return info


def webui_parameters(recipe: Recipe, size: tuple[int, int] | None = None) -> str:
    """Return the recipe as WebUI (A1111) writes it, for the tools that show this; nothing here reads it back."""
    settings = recipe.settings
    title = SETTINGS["sampler"].titles[settings.sampler]
    labels = settings.class_label if isinstance(settings.class_label, tuple) else (settings.class_label,)
    classes = ", ".join(str(one) for one in dict.fromkeys(labels) if one is not None)
    prompt = f"{settings.checkpoint}, class {classes}" if classes else str(settings.checkpoint)
    fields = {
        "Steps": settings.num_inference_steps,
        "Sampler": "DPM++ 2M" if settings.sampler == "dpmpp_2m" else title,
        "Schedule type": settings.timestep_spacing,
        "CFG scale": f"{settings.guidance_scale:g}",
        "Seed": settings.seed,
        **({"Size": f"{size[0]}x{size[1]}"} if size else {}),
        "Model hash": recipe.checkpoint_sha256[:10],
        "Model": settings.checkpoint,
        **({"Eta DDIM": f"{settings.eta:g}"} if settings.eta else {}),
        "Batch size": settings.num_images,
        "Version": "DDPM Lab",
    }
    return prompt + "\n" + ", ".join(f"{name}: {value}" for name, value in fields.items())


def read_png(content: bytes) -> tuple[Recipe, Image.Image]:
    """Return the recipe in a PNG file, and its picture. Raises FieldError with the reason if there is none."""
    if len(content) > MAX_PICTURE_BYTES:
        raise FieldError("picture", "file_large", most=MAX_PICTURE_BYTES // 10**6)
    try:
        with decoding():
            image = PngImageFile(io.BytesIO(content))
            check_header(image, "picture")
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
    """Compare two uint8 arrays: the verdict, the largest difference in levels, and how many values differ.

    "identical"; "close": nowhere more than one level of 255; "different": more, or shapes differ (then 255 and all).
    """
    if a.shape != b.shape:
        return "different", 255, max(a.size, b.size)
    difference = np.abs(a.astype(np.int16) - b.astype(np.int16))
    most, count = int(difference.max(initial=0)), int((difference > 0).sum())
    return ("identical" if most == 0 else "close" if most == 1 else "different"), most, count


# URLs ----------------------------------------------------------------------------------------------------------------


def to_query(settings: SamplingSettings) -> str:
    """Return the settings as a URL query: every field that has a value, so that no later default changes it."""
    return urlencode([(name, _as_text(value)) for name, value in settings if value is not None])


def from_query(query: Mapping[str, str]) -> SamplingSettings | None:
    """Read settings from a URL query; None if it names no field. Other parameters are ignored.

    A seed of -1 becomes a random one. Raises FieldError.
    """
    known = {name: from_text(name, query[name]) for name in SETTINGS if name in query}
    return SamplingSettings(**with_drawn_seed(known)) if known else None


def _as_text(value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def from_text(field: str, text: str):
    """Convert a parameter to the type of its field; other text is returned as it is, for the settings to refuse.

    Raises FieldError for a text that is too long.
    """
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
