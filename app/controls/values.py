"""Convert the values of the controls to the settings of a run, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.controls.codecs import CODECS, CONTROLS, MIXED, NO_CLASS, trained_betas
from app.server.limits import check_images
from app.server.options import Options
from app.texts.messages import Refusal
from diffusion.errors import FieldError, shortened
from diffusion.setting_spec import Limits
from diffusion.settings import SETTINGS, SamplingSettings

if TYPE_CHECKING:
    from app.server.checkpoint_facts import Checkpoint
    from app.server.services import Services
    from diffusion.pipeline import DDPMLabPipeline
    from diffusion.plan import Plan


def limits_of(checkpoint: Checkpoint | None, options: Options) -> Limits:
    """Return the limits of a checkpoint and of this server on the settings' ranges."""
    known = {"num_train_timesteps": checkpoint.num_train_timesteps} if checkpoint else {}
    return Limits(max_images=options.max_images, **known)


def first_values(checkpoint: Checkpoint | None, limits: Limits) -> dict[str, Any]:
    """Return the initial values of all controls except the checkpoint's own."""
    return {name: codec.first(checkpoint, limits) for name, codec in CONTROLS.items() if name != "checkpoint"}


CLASS = CODECS["class_label"].name
DEFAULTS = first_values(None, Limits())  # without any checkpoint


def defaults(checkpoint: Checkpoint, options: Options) -> dict[str, Any]:
    """Return the initial values of all controls for a checkpoint, except the checkpoint's own."""
    return first_values(checkpoint, limits_of(checkpoint, options))


def facts_of(values: Mapping, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """Return the facts that `When` can test about the run that the controls describe. values: as sent, unchecked."""
    said = {codec.setting.name: codec.fact(values, checkpoint) for codec in CONTROLS.values()}
    trained = trained_betas(checkpoint) if checkpoint else {}
    said["has_own_betas"] = any(values[name] != value for name, value in trained.items())
    return said | {"classes": checkpoint.classes if checkpoint else 0}


def settings_of(values: Mapping, checkpoint: Checkpoint, options: Options) -> SamplingSettings:
    """Return the settings of the run that the controls describe. Controls that do not apply are ignored.

    values: a control's name -> its value as the browser sent it, unchecked. Raises FieldError.
    """
    facts = facts_of(values, checkpoint)
    held = [codec for codec in CONTROLS.values() if codec.setting.holds(facts)]
    of_class = [codec for codec in held if _is_of_class(codec.setting)]
    fields = {}
    for codec in held:
        if codec not in of_class:
            fields |= codec.fields(values, checkpoint)
    settings = SamplingSettings(**fields)
    check_images(settings, options)  # before a class label is made for each picture
    for_class = {}
    for codec in of_class:
        for_class |= codec.fields(values, checkpoint)
    return settings.replace(**for_class) if for_class else settings


def _is_of_class(setting) -> bool:
    return "class_label" in (setting.name, setting.when and setting.when.on)


def controls_of(settings: SamplingSettings, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the controls' values for a run: the inverse of settings_of. Raises Refusal if they cannot describe it."""
    for name, setting in SETTINGS.items():
        if setting.control is None and (value := getattr(settings, name)) != setting.default:
            raise Refusal("no_control", field=name, got=shortened(value))
    facts = settings.facts | {"classes": checkpoint.classes}
    return {
        name: codec.shown(settings, checkpoint) if codec.setting.holds(facts) else codec.first(checkpoint, Limits())
        for name, codec in CONTROLS.items()
    }


def kept_values(services: Services, values: Mapping, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the values for another checkpoint: as many of `values` as it can run with, else its own defaults.

    The noise schedule becomes the trained one, and a single class any: a number means another class there.
    """
    own = {"checkpoint": checkpoint.name} | defaults(checkpoint, services.options)
    kept = own | {name: values[name] for name in own if name in values} | {"checkpoint": checkpoint.name}
    kept |= trained_betas(checkpoint)
    if kept[CLASS] not in (MIXED, NO_CLASS):
        kept[CLASS] = own[CLASS]
    while True:
        try:
            services.plan(settings_of(kept, checkpoint, services.options))
            return kept
        except FieldError as error:
            wrong = {codec.name for codec in CONTROLS.values() if codec.setting.name in error.fields}
            refused = {name: own[name] for name in wrong if kept[name] != own[name]}
            if not refused:
                return own
            kept |= refused


def changes(before: Mapping, values: Mapping) -> set[str]:
    """Return the names of the controls whose values change. Only these are set where a visitor may be at the others."""
    return {name for name, value in values.items() if value != before.get(name)}


def plan_run(services: Services, values: Mapping) -> tuple[DDPMLabPipeline, Plan]:
    """Plan the run that the controls describe, checked against the checkpoint and this server. Raises FieldError."""
    checkpoint = services.catalogue.checkpoint(values["checkpoint"])
    return services.plan(settings_of(values, checkpoint, services.options))


def linked_values(services: Services, settings: SamplingSettings) -> dict:
    """Return the controls' values for settings from outside. Raises ValueError if this server cannot run them."""
    checkpoint = services.catalogue.checkpoint(settings.checkpoint or services.catalogue.default())
    settings = settings.replace(checkpoint=checkpoint.name)
    check_images(settings, services.options)
    services.plan(settings)
    return controls_of(settings, checkpoint)
