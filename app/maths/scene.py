"""The scene that the experiments run on: the chosen checkpoint, its noise schedule and its pictures."""

import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from app.controls.values import plan_run
from app.server.checkpoint_facts import Checkpoint
from app.server.services import Services
from app.texts.messages import PageError, Refusal
from diffusion.bound_plan import Pair
from diffusion.decoding import check_header, decoding
from diffusion.denoisers import Denoiser
from diffusion.derivation.data_facts import DataFacts
from diffusion.derivation.lessons import Lessons
from diffusion.errors import FieldError
from diffusion.pipeline import DDPMLabPipeline
from diffusion.pixels import fit, to_unit_range
from diffusion.plan import Plan
from diffusion.schedule import NoiseSchedule

MAX_REFERENCE_BYTES = 50_000_000
# Errors that reading a broken .npz or JSON can raise
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")  # the only ones allowed: for others, Pillow can start external programs
BROKEN = (
    OSError, SyntaxError, EOFError, ArithmeticError, KeyError, IndexError, TypeError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A visitor's choice. plan: of the run that Generate's controls describe; the chapters use its schedule."""

    checkpoint: Checkpoint
    pipeline: DDPMLabPipeline
    plan: Plan

    @classmethod
    def of(cls, services: Services, values: dict) -> "Scene":
        """Build the scene from the values of Generate's controls. Raises FieldError."""
        pipeline, plan = plan_run(services, values)
        return cls(services.catalogue.checkpoint(plan.settings.checkpoint), pipeline, plan)

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise schedule in force."""
        return self.plan.schedule

    @property
    def T(self) -> int:
        """The number of steps of the schedule."""
        return len(self.schedule)

    @property
    def dims(self) -> int:
        """D: the count of numbers in a picture, C H W."""
        channels, height, width = self.checkpoint.image_shape
        return channels * height * width

    def denoiser(self, labels: Tensor | None = None) -> Denoiser:
        """Return the network without guidance, conditioned on each picture's class if it has classes.

        labels: (B,), of the pictures that it will be given; None for no class.
        """
        settings = {"guidance_scale": 1.0, "num_images": 1 if labels is None else len(labels), "start_step": 0}
        known = self.pipeline.classes and labels is not None
        settings["class_label"] = tuple(labels.tolist()) if known else None
        return self.pipeline.denoiser(self.pipeline.plan(self.plan.settings.replace(**settings)))

    @cached_property
    def training_pictures(self) -> tuple[Tensor, Tensor | None]:
        """The sample of training pictures beside the checkpoint: (N, C, H, W) float32 in [-1, 1], and labels (N,)."""
        return self._pictures("train")

    @cached_property
    def test_pictures(self) -> tuple[Tensor, Tensor | None]:
        """A sample of pictures that were not trained on, in the same format."""
        return self._pictures("test")

    def test_picture(self, number: int) -> tuple[Tensor, Tensor | None]:
        """Return a test picture by its number from 1, wrapping around: (1, C, H, W), and its label (1,) or None."""
        pictures, labels = self.test_pictures
        place = (number - 1) % len(pictures)
        return pictures[place : place + 1], None if labels is None else labels[place : place + 1]

    @cached_property
    def data_facts(self) -> DataFacts | None:
        """Recorded facts of the training pictures on the training's betas; None without a readable, fitting record."""
        path = self.checkpoint.folder / "reference" / "facts.npz"
        try:
            status = path.stat()
            facts = _read_facts(path, status.st_mtime_ns) if status.st_size <= MAX_REFERENCE_BYTES else None
        except UNREADABLE:
            return None
        if facts is None or facts.dims != self.dims or not torch.equal(facts.betas, self.plan.trained.betas):
            return None
        if self._measured is None:  # recorded with other weights: only the facts of the data alone still hold
            facts = replace(facts, network_mse=None, network_gap=None)
        return facts

    @cached_property
    def lessons(self) -> Lessons | None:
        """Recorded measurements of the network; None without a record, and on betas other than the training's."""
        return self._measured if self.plan.on_trained_betas else None

    @cached_property
    def _measured(self) -> Lessons | None:
        """Recorded measurements of exactly these weights; None without them."""
        folder = self.checkpoint.folder / "reference"
        try:
            files = [path.stat() for path in sorted(folder.glob("lessons.*"))]
            if sum(status.st_size for status in files) > MAX_REFERENCE_BYTES:
                return None
            found = _read_lessons(folder, tuple(status.st_mtime_ns for status in files))
        except UNREADABLE:
            return None
        return found if found.checkpoint_sha256 == self.checkpoint.sha256 else None

    def recorded_mse(self, pairs: Sequence[Pair]) -> dict[Pair, float] | None:
        """Return the network's recorded error on training pictures at these steps; None without one for the betas."""
        facts = self.data_facts
        if facts is None or facts.network_mse is None or not self.plan.on_trained_betas:
            return None
        return facts.network_mse_at(pairs)

    def own_picture(self, content: bytes, name: str) -> Tensor:
        """Fit a picture file to the network: (C, H, W) float32 on the 8-bit grid. Raises FieldError of `name`."""
        channels, side, _ = self.checkpoint.image_shape
        try:
            with decoding(), Image.open(BytesIO(content), formats=FORMATS) as picture:
                check_header(picture, name)
                return to_unit_range(fit(picture, side, "L" if channels == 1 else "RGB")[None])[0]
        except FieldError:
            raise
        except (*BROKEN, ValueError) as error:
            raise PageError(name, "no_picture") from error

    def _pictures(self, split: str) -> tuple[Tensor, Tensor | None]:
        path = self.checkpoint.folder / "reference" / f"{split}.npz"
        try:
            status = path.stat()
            if status.st_size > MAX_REFERENCE_BYTES:
                raise ValueError
            return _read(path, status.st_mtime_ns, self.checkpoint.image_shape)
        except UNREADABLE:
            raise Refusal("no_reference", name=self.checkpoint.name) from None


@lru_cache(maxsize=8)
def _read_lessons(folder: Path, changed: tuple[int, ...]) -> Lessons:
    return Lessons.load(folder)


@lru_cache(maxsize=8)
def _read_facts(path: Path, changed: int) -> DataFacts:
    return DataFacts.load(path)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor | None]:
    with np.load(path, allow_pickle=False) as arrays:
        images = arrays["images"]
        labels = torch.from_numpy(arrays["labels"].astype(np.int64)) if "labels" in arrays else None
    x_0 = to_unit_range(images)
    if tuple(x_0.shape[1:]) != tuple(shape):
        raise ValueError("images: their size differs from the network's")
    return x_0, labels
