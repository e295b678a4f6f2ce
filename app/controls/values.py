"""From what stands in the controls to the settings of a run, and back to what a control may show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.controls.codecs import CONTROLS, trained_betas
from app.server.options import Options
from app.texts.messages import Refusal
from diffusion.errors import shortened
from diffusion.setting_spec import Limits
from diffusion.settings import SETTINGS, SamplingSettings

if TYPE_CHECKING:
    from app.server.checkpoints import Checkpoint
    from diffusion.experiments.grid import Job
    from diffusion.plan import Plan


def limits_of(checkpoint: Checkpoint | None, options: Options) -> Limits:
    """What a checkpoint and this server leave of the settings' ranges."""
    known = {"num_train_timesteps": checkpoint.num_train_timesteps} if checkpoint else {}
    return Limits(max_images=options.max_images, **known)


def first_values(checkpoint: Checkpoint | None, limits: Limits) -> dict[str, Any]:
    """What the controls hold at first: every control but the checkpoint's own."""
    return {name: codec.first(checkpoint, limits) for name, codec in CONTROLS.items() if name != "checkpoint"}


DEFAULTS = first_values(None, Limits())  # without any checkpoint


def defaults(checkpoint: Checkpoint, options: Options) -> dict[str, Any]:
    """What the controls of a checkpoint hold at first: every control but the checkpoint's own."""
    return first_values(checkpoint, limits_of(checkpoint, options))


def facts_of(values: Mapping, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """What `When` may ask of the run that the controls describe. values: whatever a browser sent."""
    said = {codec.setting.name: codec.fact(values, checkpoint) for codec in CONTROLS.values()}
    trained = trained_betas(checkpoint) if checkpoint else {}
    said["has_own_betas"] = any(values[name] != value for name, value in trained.items())
    return said | {"classes": checkpoint.classes if checkpoint else 0}


def settings_of(values: Mapping, checkpoint: Checkpoint, options: Options) -> SamplingSettings:
    """The run that the controls describe. A control that means nothing beside the others is not looked at.

    values: a control's name -> its value, whatever a browser sent. Raises FieldError.
    """
    facts = facts_of(values, checkpoint)
    held = [codec for codec in CONTROLS.values() if codec.setting.holds(facts)]
    of_class = [codec for codec in held if _is_of_class(codec.setting)]
    fields = {}
    for codec in held:
        if codec not in of_class:
            fields |= codec.fields(values, checkpoint)
    settings = SamplingSettings(**fields)
    check_images(settings, options)  # before a class is named for each of them
    for_class = {}
    for codec in of_class:
        for_class |= codec.fields(values, checkpoint)
    return settings.replace(**for_class) if for_class else settings


def _is_of_class(setting) -> bool:
    return "class_label" in (setting.name, setting.when and setting.when.on)


def controls_of(settings: SamplingSettings, checkpoint: Checkpoint) -> dict[str, Any]:
    """What the controls hold to describe a run: the inverse of settings_of. Raises Refusal for what has no control."""
    for name, setting in SETTINGS.items():
        if setting.control is None and (value := getattr(settings, name)) != setting.default:
            raise Refusal("no_control", field=name, got=shortened(value))
    facts = settings.facts | {"classes": checkpoint.classes}
    return {
        name: codec.shown(settings, checkpoint) if codec.setting.holds(facts) else codec.first(checkpoint, Limits())
        for name, codec in CONTROLS.items()
    }


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
