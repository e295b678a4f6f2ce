"""Which pictures: the part of a training's config that reading the data needs."""

from typing import Literal

from pydantic import ConfigDict, Field

from diffusion.errors import CheckedModel


class DataConfig(CheckedModel):
    """Where the pictures are and how they are read. Raises FieldError."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: str = Field(
        "pixel-faces",
        min_length=1,
        description="pixel-faces, hanzi, fashion-mnist, mnist, a folder of images, or hub:owner/name.",
    )
    image_size: int | None = Field(
        None, ge=8, le=256, description="Side of the square pictures; by default a data set's own, 32 for a folder."
    )
    color: Literal["auto", "grey", "rgb"] = Field(
        "auto", description="Channels; auto is grey if every picture is grey, else RGB."
    )
    resample: Literal["lanczos", "nearest", "bicubic"] = Field(
        "lanczos", description="How pictures of a folder are resized (nearest for pixel art)."
    )
    frames: Literal["first", "all"] = Field(
        "first", description="What to take of a file with several frames (GIF, TIFF, APNG, WebP)."
    )
    test_fraction: float = Field(0.1, gt=0, lt=1, description="Share held out if the data have no test split.")
    image_column: str | None = Field(
        None, description="Column of the pictures in a Hub data set; by default found by its type."
    )
    label_column: str | None = Field(
        None, description="Column of the labels in a Hub data set; by default found by its type."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Decides which pictures are held out.")
