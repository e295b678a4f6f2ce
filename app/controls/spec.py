"""What each control of a run shows: its texts, its choices and limits, and whether it applies now."""

from collections.abc import Mapping

from app.controls.codecs import CODECS, CONTROLS, Codec
from app.controls.values import facts_of, limits_of
from app.server.checkpoint_facts import Checkpoint
from app.server.checkpoints import Catalogue
from app.server.options import Options
from app.texts import say, say_name, texts
from diffusion.setting_spec import Limits


def control_props(language: str, checkpoint: Checkpoint | None, options: Options) -> dict[str, dict]:
    """Return texts, choices and limits of every control except the checkpoint's, for a checkpoint."""
    limits = limits_of(checkpoint, options)
    return {
        name: codec.props(language, checkpoint, limits) | _words(codec, language, checkpoint, limits)
        for name, codec in CONTROLS.items()
        if name != "checkpoint"
    }


def checkpoint_props(language: str, catalogue: Catalogue) -> dict:
    """Return texts and choices of the checkpoint's control: every folder; one that cannot be used is marked."""
    choices = []
    for name in catalogue.names():
        shown = say_name(language, "checkpoints", name)
        if catalogue.error_of(name) is not None:
            shown = say(language, "controls.checkpoint.broken", name=shown)
        choices.append((shown, name))
    return {"choices": choices} | _words(CONTROLS["checkpoint"], language, None, Limits())


def control_meanings(values: Mapping, checkpoint: Checkpoint | None) -> dict[str, dict]:
    """Return which controls apply, given the values of the others. A control that does not is hidden or greyed out."""
    facts = facts_of(values, checkpoint)
    return {
        name: {"interactive" if codec.setting.when.is_greyed else "visible": codec.setting.applies(facts)}
        for name, codec in CONTROLS.items()
        if codec.setting.when
    }


def field_words(field: str, language: str) -> str:
    """Return the label of a field of the settings, with its unit if it has one."""
    codec = CODECS[field]
    label = texts(language).get(f"controls.{codec.name}.label", codec.name)
    unit = codec.setting.control.unit if codec.setting.control else ""
    return f"{label} ({unit})" if unit else label


def sampler_title(name: str, language: str) -> str:
    """Return the display name of a sampler: from the texts, else the setting's own title for it."""
    return CODECS["sampler"].choice_words(name, language)


def _words(codec: Codec, language: str, checkpoint: Checkpoint | None, limits: Limits) -> dict[str, str]:
    """Return label and info text of a control; for a setting without texts, its name and description."""
    key = f"controls.{codec.name}.info"
    places = codec.places(language, checkpoint, limits)
    info = say(language, key, **places) if key in texts(language) else codec.setting.description
    return {"label": field_words(codec.setting.name, language), "info": info}
