"""Preset grids, and the conversion of the Explore tab's values into the runs of a grid and of a frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.controls.codecs import CODECS, MIXED, class_label
from app.controls.values import limits_of, settings_of
from app.explore.value_names import value_names
from app.server.checkpoint_facts import Checkpoint
from app.server.checkpoints import Catalogue
from app.server.options import Options
from app.texts import say, texts
from app.ui.lazy_import import lazy_import
from diffusion.experiments.axes import FIELDS, SAMPLERS_AND_ETAS, Axis
from diffusion.settings import SamplingSettings

if TYPE_CHECKING:
    from diffusion.experiments.frontier import Measurement
    from diffusion.experiments.grid import Cell, Job
    from diffusion.pipeline import DDPMLabPipeline
    from diffusion.plan import Plan

frontier, grid = lazy_import("diffusion.experiments.frontier"), lazy_import("diffusion.experiments.grid")

AXES = ("axis_1", "axis_2", "axis_3")
NO_FIELD = ""  # the field of an unused axis
NUM_IMAGES = 4  # per cell: enough to judge a sampler by, few enough to run in seconds
FRONTIER = {"frontier_steps": "2, 3, 5, 10, 20", "frontier_etas": "ddim, ddpm", "frontier_samples": 60}


@dataclass(frozen=True)
class GridPreset:
    """Axes as (field, values), and the other settings that differ from the defaults. Texts: "grids.NAME"."""

    axes: tuple[tuple[str, str], ...]
    base: dict[str, Any] = field(default_factory=dict)
    needs_classes: bool = False
    needs_betas: bool = False


GRID_PRESETS: dict[str, GridPreset] = {
    "steps": GridPreset((("num_inference_steps", "4, 10, 50"), ("sampler", "ddpm, ddim"))),
    "solvers": GridPreset((("num_inference_steps", "5, 8, 10, 20"), ("sampler", "ddim, dpmpp_2m, unipc"))),
    "eta": GridPreset((("eta", "0-1[5]"), ("num_inference_steps", "5, 20"))),
    "betas": GridPreset(
        (("beta_end", "0.005, 0.01, 0.02, 0.04"), ("conditioning", "matched, naive")),
        {"num_inference_steps": 20}, needs_betas=True,
    ),
    "guidance": GridPreset(
        (("guidance_scale", "0, 1, 2, 4"), ("class_label", "0-2")), {"num_inference_steps": 15}, needs_classes=True
    ),
    "seeds": GridPreset((("seed", "0-5"), ("sampler", "ddpm, ddim")), {"num_inference_steps": 20, "num_images": 1}),
}  # fmt: skip
DEFAULT_PRESET = "steps"


def presets_of(checkpoint: Checkpoint | None) -> list[str]:
    """Return the presets that apply to a checkpoint."""
    if checkpoint is None:
        return [DEFAULT_PRESET]
    return [
        name
        for name, preset in GRID_PRESETS.items()
        if (checkpoint.classes > 2 or not preset.needs_classes)
        and (checkpoint.beta_start is not None or not preset.needs_betas)
    ]


def preset_axes(name: str) -> dict[str, str]:
    """Return the values of the axes' controls in a preset: "axis_1" -> its field, "axis_1_values" -> its values."""
    axes = [*GRID_PRESETS[name].axes, *[(NO_FIELD, "")] * (len(AXES) - len(GRID_PRESETS[name].axes))]
    return {key: value for axis, (of, values) in zip(AXES, axes, strict=True)
            for key, value in ((axis, of), (f"{axis}_values", values))}  # fmt: skip


def grid_preset_settings(name: str, checkpoint: Checkpoint, num_images: int) -> SamplingSettings:
    """Return the settings that a preset's cells share."""
    own = GRID_PRESETS[name].base
    count = min(num_images, own.get("num_images", num_images))
    steps = min(own.get("num_inference_steps", 50), checkpoint.num_train_timesteps)
    label = class_label(MIXED, count, checkpoint.classes)
    known = {"checkpoint": checkpoint.name, "class_label": label}
    return SamplingSettings(**known | own | {"num_images": count, "num_inference_steps": steps})


def example(of: str, checkpoint: Checkpoint | None, catalogue: Catalogue) -> str:
    """Return example values for a field put on an axis; "" without a field."""
    return CODECS[of].example(checkpoint, catalogue) if of in FIELDS else ""


def values_hint(of: str, checkpoint: Checkpoint | None, language: str) -> str:
    """Say which values a field takes and how to write them."""
    if of not in FIELDS:
        return say(language, "grids.values.nothing")
    codec, key = CODECS[of], f"grids.values.{of}"
    places = codec.places(language, checkpoint, limits_of(checkpoint, Options()))
    if key in texts(language):
        return say(language, key, **places)
    setting = codec.setting
    if not setting.is_number:
        return f"{', '.join(setting.choices or ('yes', 'no'))}."
    ends = {"least": setting.least, "most": setting.most}
    return say(language, "grids.values.numbers", example=setting.axis.example, **ends)


@dataclass(frozen=True, eq=False)
class Grid:
    """The runs of a grid. base: the settings that all cells share. jobs: one per cell, in the cells' order."""

    axes: tuple[Axis, ...]
    base: SamplingSettings
    cells: tuple[Cell, ...]
    jobs: tuple[Job, ...]


@dataclass(frozen=True, eq=False)
class Frontier:
    """The measurements of a frontier. has_space: whether the checkpoint has a feature space, which KID needs."""

    base: SamplingSettings
    measurements: tuple[Measurement, ...]
    samples: int
    has_space: bool

    @property
    def jobs(self) -> list[Job]:
        return [job for one in self.measurements for job in one.jobs]


def padded(axes: Sequence[Axis]) -> tuple[Axis, Axis, Axis]:
    """Return three axes: an unused one has no field and the single value None."""
    first, second, third, *_ = [*axes, *[Axis("", NO_FIELD, (None,))] * 2]
    return first, second, third


def axes_of(own: Mapping, checkpoint: Checkpoint, catalogue: Catalogue) -> tuple[Axis, ...]:
    """Return the axes in use, from the values of their controls. checkpoint: supplies the classes. Raises AxisError."""
    return tuple(
        Axis.of(name, own[name], own[f"{name}_values"], value_names(own[name], checkpoint, catalogue))
        for name in AXES
        if own[name] not in (NO_FIELD, None)
    )


def grid_of(own: Mapping, values: Mapping, catalogue: Catalogue, options: Options) -> Grid:
    """Build the grid that the tab describes. own: the values of its own controls; values: of the run's controls.

    Where the class control says "some of each class", each cell uses its own checkpoint's classes. Raises FieldError.
    """
    checkpoint = catalogue.checkpoint(values["checkpoint"])
    axes = axes_of(own, checkpoint, catalogue)
    base = settings_of(values, checkpoint, options)
    pipeline_of = catalogue.pipelines()

    def planned(changes: dict) -> tuple[DDPMLabPipeline, Plan]:
        changes = dict(changes)
        if "checkpoint" in changes and "class_label" not in changes:
            other = catalogue.checkpoint(changes["checkpoint"])
            changes["class_label"] = class_label(values["class_choice"], base.num_images, other.classes)
        if changes.get("class_label") is not None:
            changes.setdefault("guidance_scale", values["guidance_scale"])
        settings = grid.varied(base, changes)
        pipeline = pipeline_of(settings.checkpoint)
        return pipeline, pipeline.plan(settings)

    cells = grid.cells_of(axes, planned)
    versions = {name: catalogue.checkpoint(name).sha256 for name in {cell.plan.settings.checkpoint for cell in cells}}
    jobs = [grid.pictures_job(cell.pipeline, cell.plan, versions[cell.plan.settings.checkpoint]) for cell in cells]
    return Grid(axes, base, cells, tuple(jobs))


def frontier_of(own: Mapping, values: Mapping, catalogue: Catalogue, options: Options) -> Frontier:
    """Build the frontier that the tab describes; arguments as in grid_of. Raises FieldError."""
    checkpoint = catalogue.checkpoint(values["checkpoint"])
    fields = {"frontier_steps": "num_inference_steps", "frontier_etas": SAMPLERS_AND_ETAS}
    axes = [Axis.of(name, of, own[name], value_names(of, checkpoint, catalogue)) for name, of in fields.items()]
    base = settings_of(values, checkpoint, options)
    space, pipeline = catalogue.feature_space(checkpoint.name), catalogue.pipeline(checkpoint.name)
    samples = own["frontier_samples"]
    samples = int(samples) if isinstance(samples, float) and samples.is_integer() else samples
    found = frontier.measurements(pipeline, base, *axes, samples, space, checkpoint.sha256)
    return Frontier(base, tuple(found), samples, space is not None)
