"""Convert a control's value to its setting and back, and say what the control shows: one codec per setting.

Most controls hold their setting as it is (`Codec`). The others use other values than the settings: "some of each class"
for a tuple of labels, and the trained betas for None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.controls.raw_numbers import is_close, is_number, whole
from app.texts import say, say_name, texts
from app.texts.messages import Refusal
from app.texts.numbers import number
from diffusion.errors import FieldError, shortened
from diffusion.setting_spec import Limits, Setting
from diffusion.settings import SETTINGS, SamplingSettings
from diffusion.words import COSINE, ONE_BY_ONE

if TYPE_CHECKING:
    from app.server.checkpoint_facts import Checkpoint
    from app.server.checkpoints import Catalogue

MIXED, NO_CLASS = "mixed", "none"
BETAS = ("beta_schedule", "beta_start", "beta_end")
USUAL_BETAS = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}  # Ho et al. 2020


class Codec:
    """A control that holds its setting as it is.

    In every method `values` maps a control's name to its value as the browser sent it, unchecked.
    """

    def __init__(self, setting: Setting):
        self.setting = setting
        self.name = setting.control_name

    # Values ----------------------------------------------------------------------------------------------------------

    def first(self, checkpoint: Checkpoint | None, limits: Limits) -> Any:
        """Return the control's initial value."""
        setting = self.setting
        value = setting.default if setting.control.default is None else setting.control.default
        most = setting.offered(limits)[1]
        return min(value, most) if is_number(value) and most is not None else value

    def fact(self, values: Mapping, checkpoint: Checkpoint | None) -> Any:
        """Return the value of the setting that `When` tests."""
        return values.get(self.name)

    def fields(self, values: Mapping, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the fields of the settings that the control determines. Raises FieldError."""
        value = values[self.name]
        if self.setting.default is None:
            _given(self.name, value)
        return {self.setting.name: whole(value) if self.setting.is_whole else value}

    def shown(self, settings: SamplingSettings, checkpoint: Checkpoint) -> Any:
        """Return the control's value for a run: the inverse of `fields`. Raises Refusal if no value describes it."""
        value = getattr(settings, self.setting.name)
        return self.first(checkpoint, Limits()) if value is None else value

    # Words -----------------------------------------------------------------------------------------------------------

    def props(self, language: str, checkpoint: Checkpoint | None, limits: Limits) -> dict[str, Any]:
        """Return the choices or limits of the component, as its keyword arguments."""
        kind = self.setting.control_kind
        if kind in ("radio", "dropdown"):
            return {"choices": self.choices(language, checkpoint)}
        if kind == "checkbox":
            return {}
        least, most = self.setting.offered(limits)
        if kind == "slider":
            classes = self._classes(checkpoint)
            return {"minimum": least, "maximum": most, "step": self.setting.control.step, "elem_classes": classes}
        whole_only = {"precision": 0} if self.setting.is_whole else {}
        return {"minimum": least, "maximum": most, "elem_classes": self._classes(checkpoint)} | whole_only

    def _classes(self, checkpoint: Checkpoint | None) -> list[str]:
        """Return what scripts have to know about a number: its name; a slider's scale, and values it has to hit."""
        if self.setting.control.scale == "linear":
            return [f"control-{self.name}"]
        return [f"control-{self.name}", "log-scale", *(f"hits-{value!r}" for value in self.hits(checkpoint))]

    def hits(self, checkpoint: Checkpoint | None) -> list[float]:
        """Return the values that a slider reaches exactly although they are no round numbers."""
        return []

    def chip_words(self, value: float, limits: Limits, language: str) -> str:
        """Return what a value's chip says; of the greatest value that it is all, if there is a text for that."""
        key, shown = f"controls.{self.name}.all", f"{value:g}"
        is_all = value == self.setting.offered(limits)[1] and key in texts(language)
        return say(language, key, value=shown) if is_all else shown

    def choices(self, language: str, checkpoint: Checkpoint | None) -> list[tuple[str, str]]:
        """Return (display name, value) of each choice."""
        return [(self.choice_words(value, language), value) for value in self.setting.choices]

    def choice_words(self, value: str, language: str) -> str:
        """Return the display name of a choice: from the texts, else the setting's own title for it."""
        return texts(language).get(f"controls.{self.name}.{value}", self.setting.titles.get(value, value))

    def places(self, language: str, checkpoint: Checkpoint | None, limits: Limits) -> dict[str, Any]:
        """Return the values for the placeholders in the texts about the setting."""
        least, most = self.setting.offered(limits)
        return {"least": least, "most": most, "choices": ", ".join(self.setting.choices)}

    def example(self, checkpoint: Checkpoint | None, catalogue: Catalogue) -> str:
        """Return example values for an axis over this setting, as text."""
        return self.setting.axis.example or ", ".join(self.setting.choices or ("yes", "no"))

    def value_words(self, value, checkpoint: Checkpoint, language: str) -> str:
        """Return a value as text for the head of a grid's row or column."""
        if isinstance(value, bool):
            return say(language, "grids.yes" if value else "grids.no")
        if self.setting.choices:
            return texts(language).get(f"grids.short.{self.name}.{value}", self.choice_words(value, language))
        unit = self.setting.control.unit if self.setting.control else ""
        return " ".join(filter(None, (number(value, 6) if isinstance(value, float) else str(value), unit)))


class CheckpointCodec(Codec):
    """The control of the checkpoint; its choices come from the catalogue."""

    def fields(self, values, checkpoint):
        return {"checkpoint": checkpoint.name}

    def shown(self, settings, checkpoint):
        return checkpoint.name

    def example(self, checkpoint, catalogue):
        return ", ".join(name for name in catalogue.names() if catalogue.error_of(name) is None)

    def value_words(self, value, checkpoint, language):
        return say_name(language, "checkpoints", value)


class ClassesCodec(Codec):
    """The control of the classes: some of each, one, or none."""

    def first(self, checkpoint, limits):
        return MIXED

    def fact(self, values, checkpoint):
        has_class = checkpoint is not None and checkpoint.classes and values[self.name] != NO_CLASS
        return str(values[self.name]) if has_class else None

    def fields(self, values, checkpoint):
        return {"class_label": class_label(values[self.name], whole(values["num_images"]), checkpoint.classes)}

    def shown(self, settings, checkpoint):
        label, count = settings.class_label, settings.num_images
        if label is None:
            return NO_CLASS
        labels = label if isinstance(label, tuple) else (label,) * count
        if len(set(labels)) == 1:
            return str(labels[0])
        if labels == class_label(MIXED, count, checkpoint.classes):
            return MIXED
        raise Refusal("no_control", field="class_label", got=shortened(label))

    def choices(self, language, checkpoint):
        names = checkpoint.class_names if checkpoint else ()
        shown = [(say_name(language, "classes", name), str(number)) for number, name in enumerate(names)]
        mixed, none = ((self.choice_words(value, language), value) for value in (MIXED, NO_CLASS))
        return [mixed, *shown, none]

    def places(self, language, checkpoint, limits):
        return {"last": max(0, checkpoint.classes - 1) if checkpoint else 0}

    def example(self, checkpoint, catalogue):
        classes = checkpoint.classes if checkpoint else 0
        return f"none, 0-{min(classes, 4) - 1}" if classes else "none"

    def value_words(self, value, checkpoint, language):
        if value is None:
            return say(language, "explore.no_class")
        names = checkpoint.class_names
        return say_name(language, "classes", names[value]) if value < len(names) else str(value)


class BetasCodec(Codec):
    """One of the three controls of the noise schedule. It holds the trained value where the setting is None."""

    def first(self, checkpoint, limits):
        return trained_betas(checkpoint)[self.name]

    def fields(self, values, checkpoint):
        return {self.name: _own_betas(values, checkpoint).get(self.name)}

    def props(self, language, checkpoint, limits):
        props = super().props(language, checkpoint, limits)
        trained = getattr(checkpoint, self.name, None)
        if trained is not None and "step" in props:  # the slider's range must include the trained value
            props |= {"minimum": min(props["minimum"], trained), "maximum": max(props["maximum"], trained)}
        return props

    def hits(self, checkpoint):
        trained = getattr(checkpoint, self.name, None)
        return [] if trained is None else [trained]

    def places(self, language, checkpoint, limits):
        trained = getattr(checkpoint, self.name, None)
        return super().places(language, checkpoint, limits) | {
            "trained": "–" if trained is None else number(trained, 6)
        }


class ShapeCodec(BetasCodec):
    """The shape of the noise schedule. The trained one is marked; trained betas listed one by one are a choice too."""

    def choices(self, language, checkpoint):
        trained = checkpoint.beta_schedule if checkpoint else None
        choices = super().choices(language, checkpoint)
        if trained is None:
            return [(self.choice_words(ONE_BY_ONE, language), ONE_BY_ONE), *choices]
        mark = f"controls.{self.name}.as_trained"
        return [(say(language, mark, name=shown) if value == trained else shown, value) for shown, value in choices]

    def places(self, language, checkpoint, limits):
        trained = (checkpoint.beta_schedule if checkpoint else None) or ONE_BY_ONE
        return Codec.places(self, language, checkpoint, limits) | {"trained": self.choice_words(trained, language)}


KINDS = {
    "plain": Codec,
    "checkpoint": CheckpointCodec,
    "classes": ClassesCodec,
    "betas": BetasCodec,
    "shape": ShapeCodec,
}
CODECS: dict[str, Codec] = {
    name: KINDS[setting.control.codec if setting.control else "plain"](setting) for name, setting in SETTINGS.items()
}
"""Codecs by the setting's name."""
CONTROLS: dict[str, Codec] = {codec.name: codec for codec in CODECS.values() if codec.setting.control}
"""Codecs of the settings that have a control, by the control's name, in the settings' order."""


def trained_betas(checkpoint: Checkpoint | None) -> dict:
    """Return the values of the noise schedule's controls as trained; the usual values where the training has none."""
    if checkpoint is None:
        return dict(USUAL_BETAS)
    trained = {name: getattr(checkpoint, name) for name in BETAS}
    usual = USUAL_BETAS | {"beta_schedule": ONE_BY_ONE}
    return {name: usual[name] if value is None else value for name, value in trained.items()}


def class_label(choice, count: int, classes: int) -> int | tuple[int, ...] | None:
    """Return the classes of `count` pictures. choice: "mixed" takes each class in turn, "none" gives None, else the
    number of a class, as text.

    Returns None if the checkpoint has no classes. Raises Refusal for any other choice.
    """
    if not classes or choice == NO_CLASS:
        return None
    if choice == MIXED:
        return tuple(number % classes for number in range(count))
    if choice in [str(number) for number in range(classes)]:
        return int(choice)
    raise Refusal("class_choice", got=shortened(choice))


def _own_betas(values: Mapping, checkpoint: Checkpoint) -> dict:
    """Return the run's own betas; {} if the controls hold the trained ones."""
    trained = trained_betas(checkpoint)
    schedule = _given("beta_schedule", values["beta_schedule"])
    if schedule == ONE_BY_ONE == trained["beta_schedule"]:
        return {}
    if schedule == COSINE:
        return {} if trained["beta_schedule"] == COSINE else {"beta_schedule": COSINE}
    # A slider's arithmetic can send 0.020000000000000004: a value that is equal up to rounding is the trained value
    ends = {
        field: trained[field] if is_close(values[field], trained[field]) else _given(field, values[field])
        for field in ("beta_start", "beta_end")
    }
    chosen = {"beta_schedule": schedule, **ends}
    return {} if chosen == trained else chosen


def _given(field: str, value):
    """Return a value that the settings can omit but a control cannot. Raises FieldError if it is None."""
    if value is None:
        raise FieldError(field, "missing")
    return value
