"""From what stands in the controls to the settings of a run, and back to what a control may show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.catalogue import Checkpoint
from app.messages import Refusal
from app.options import Options
from diffusion.errors import FieldError, shortened
from diffusion.samplers.registry import reads
from diffusion.settings import SamplingSettings

if TYPE_CHECKING:
    from diffusion.grid import Job
    from diffusion.plan import Plan

MIXED, NO_CLASS = "mixed", "none"
TRAINED_ONE_BY_ONE = "trained"  # the choice of schedule that stands for betas without a name
COSINE = "squaredcos_cap_v2"
USUAL_BETAS = (1e-4, 0.02)  # Ho et al. 2020, where a checkpoint has no range of its own

DEFAULTS = {
    "class_choice": MIXED,
    "sampler": "ddim",
    "num_inference_steps": 50,
    "seed": 0,
    "num_images": 18,  # three rows of six fill the stage
    "guidance_scale": 1.0,
    "eta": 0.0,
    "reverse_variance": "posterior",
    "timestep_spacing": "trailing",
    "clip_sample": True,
    "conditioning": "matched",
}


def defaults(checkpoint: Checkpoint, options: Options) -> dict:
    """What the controls of a checkpoint hold at first: every control but the checkpoint's own."""
    return DEFAULTS | trained_betas(checkpoint) | {
        "num_inference_steps": min(DEFAULTS["num_inference_steps"], checkpoint.num_train_timesteps),
        "num_images": min(DEFAULTS["num_images"], options.max_images),
    }  # fmt: skip


def trained_betas(checkpoint: Checkpoint) -> dict:
    """The controls of the noise schedule, as trained."""
    start, end = USUAL_BETAS
    return {
        "beta_schedule": checkpoint.beta_schedule or TRAINED_ONE_BY_ONE,
        "beta_start": start if checkpoint.beta_start is None else checkpoint.beta_start,
        "beta_end": end if checkpoint.beta_end is None else checkpoint.beta_end,
    }


def settings_of(values: Mapping, checkpoint: Checkpoint, options: Options) -> SamplingSettings:
    """The run that the controls describe. A control that means nothing beside the others is not looked at.

    values: a control's name -> its value, whatever a browser sent. Raises FieldError.
    """
    sampler = values["sampler"]
    settings = SamplingSettings(
        checkpoint=checkpoint.name,
        sampler=sampler,
        num_inference_steps=_whole(values["num_inference_steps"]),
        timestep_spacing=values["timestep_spacing"],
        eta=_given(values, "eta") if reads(sampler, "eta") else None,
        reverse_variance=values["reverse_variance"] if reads(sampler, "reverse_variance") else "posterior",
        clip_sample=values["clip_sample"],
        conditioning=values["conditioning"],
        seed=_whole(values["seed"]),
        num_images=_whole(values["num_images"]),
        **_betas(values, checkpoint),
    )
    check_images(settings, options)
    label = class_label(values["class_choice"], settings.num_images, checkpoint.classes)
    return settings if label is None else settings.replace(class_label=label, guidance_scale=values["guidance_scale"])


def controls_of(settings: SamplingSettings, checkpoint: Checkpoint) -> dict:
    """What the controls hold to describe a run: the inverse of settings_of. Raises Refusal for what has no control."""
    if settings.start_step:
        raise Refusal("no_control", field="start_step", got=settings.start_step)
    trained = trained_betas(checkpoint)
    betas = {}
    if settings.has_own_betas:
        betas = {field: getattr(settings, field) for field in ("beta_schedule", "beta_start", "beta_end")}
        betas = {field: trained[field] if value is None else value for field, value in betas.items()}
    return {
        "checkpoint": checkpoint.name,
        "class_choice": _class_choice(settings, checkpoint.classes),
        "sampler": settings.sampler,
        "num_inference_steps": settings.num_inference_steps,
        "seed": settings.seed,
        "num_images": settings.num_images,
        "guidance_scale": settings.guidance_scale,
        "eta": DEFAULTS["eta"] if settings.eta is None or not reads(settings.sampler, "eta") else settings.eta,
        "reverse_variance": settings.reverse_variance,
        "timestep_spacing": settings.timestep_spacing,
        "clip_sample": settings.clip_sample,
        "conditioning": settings.conditioning,
        **trained,
        **betas,
    }


def _class_choice(settings: SamplingSettings, classes: int) -> str:
    label, count = settings.class_label, settings.num_images
    if label is None:
        return NO_CLASS if classes else MIXED
    labels = label if isinstance(label, tuple) else (label,) * count
    if len(set(labels)) == 1:
        return str(labels[0])
    if labels == class_label(MIXED, count, classes):
        return MIXED
    raise Refusal("no_control", field="class_label", got=shortened(label))


def class_label(choice, count: int, classes: int) -> int | tuple[int, ...] | None:
    """The classes of `count` pictures: "mixed" takes each class in turn, "none" gives none, else a class's number."""
    if not classes or choice == NO_CLASS:
        return None
    if choice == MIXED:
        return tuple(number % classes for number in range(count))
    if choice in [str(number) for number in range(classes)]:
        return int(choice)
    raise Refusal("class_choice", got=shortened(choice))


def check_images(settings: SamplingSettings, options: Options) -> None:
    """Raises Refusal where a request asks for more pictures than this server makes at once."""
    if settings.num_images > options.max_images:
        raise Refusal("images", most=options.max_images, got=settings.num_images)


def check_cost(options: Options, *plans: Plan | Job) -> None:
    """Raises Refusal where runs are together larger than this server allows in one request."""
    check_evaluations(options, sum(plan.evaluations for plan in plans))


def check_evaluations(options: Options, asked: int) -> None:
    """The same for so many pictures that go through the network."""
    if asked > options.max_cost:
        raise Refusal("cost", asked=f"{asked:,}", most=f"{options.max_cost:,}")


def _betas(values: Mapping, checkpoint: Checkpoint) -> dict:
    trained = trained_betas(checkpoint)
    schedule = _given(values, "beta_schedule")
    if schedule == TRAINED_ONE_BY_ONE == trained["beta_schedule"]:
        return {}
    if schedule == COSINE:
        return {} if trained["beta_schedule"] == COSINE else {"beta_schedule": COSINE}
    # A slider's arithmetic may hand back 0.020000000000000004; what equals the trained value is the trained value
    ends = {
        field: trained[field] if _close(values[field], trained[field]) else _given(values, field)
        for field in ("beta_start", "beta_end")
    }
    chosen = {"beta_schedule": schedule, **ends}
    return {} if chosen == trained else chosen


def _given(values: Mapping, field: str):
    """A value that the settings may leave out, but a control may not."""
    if values[field] is None:
        raise FieldError(field, "missing")
    return values[field]


def _whole(value):
    """JavaScript has no integers: 50.0 is one. Anything else is left for the settings to refuse."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _close(a, b: float) -> bool:
    return is_number(a) and math.isclose(a, b, rel_tol=1e-9)


def is_number(value) -> bool:
    """Whether it is a finite number that a float can hold."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False
