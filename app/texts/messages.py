"""Errors in the reader's language: the sentence of an error's key in app/texts, filled with its values."""

import logging
from collections.abc import Mapping

from app.texts import say, say_name, texts
from diffusion.errors import CheckpointError, FieldError
from diffusion.settings import SETTINGS

logger = logging.getLogger(__name__)


class PageError(FieldError):
    """Something of a field that only the page refuses: its sentence is in app/texts alone."""

    def english(self) -> str:
        """The problem in English, without the field."""
        return say("en", f"errors.{self.key}", **self.values)


class Refusal(PageError):
    """Something that the page does not do, said as a whole sentence that names its own field, if it has one."""

    def __init__(self, key: str, /, **values):
        super().__init__("", key, **values)


def explain(error: ValueError, language: str, labels: Mapping[str, str] | None = None) -> str:
    """An error as one sentence a line, in a language. Plain text: escape it where it becomes HTML.

    labels: of fields that have others than the page's. An error of another program has no sentence: the log has it.
    """
    if not isinstance(error, FieldError):
        logger.warning("an error without a sentence of its own", exc_info=error)
        return say(language, "errors.other")
    return "\n".join(_sentence(one, language, labels or {}) for one in error.findings)


def _sentence(error: FieldError, language: str, labels: Mapping[str, str]) -> str:
    problem = say(language, f"errors.{error.key}", **_places(error, language, labels))
    if not error.field:
        return problem
    if isinstance(error, CheckpointError):
        field = say_name(language, "checkpoints", error.field)
    else:
        separator = say(language, "errors.separator")
        field = separator.join(_label(name, language, labels) for name in error.field.split(", "))
    return say(language, "errors.field", field=field, problem=problem)


def _places(error: FieldError, language: str, labels: Mapping[str, str]) -> dict:
    """An error's values as its sentence takes them."""
    places = {}
    for name, value in error.values.items():
        if isinstance(value, ValueError):
            value = explain(value, language, labels)
            if error.field:  # within its sentence, which has its own end
                value = value.removesuffix(".").removesuffix("。")
        elif isinstance(value, tuple):
            value = say(language, "errors.separator").join(map(str, value))
        elif name == "field":
            value = _label(value, language, labels)
        elif name == "sampler":
            value = texts(language).get(f"controls.sampler.{value}", value)
        elif name == "axis":
            value = texts(language).get(f"explore.{value}", value)
        places[name] = value
    return places


def _label(field: str, language: str, labels: Mapping[str, str]) -> str:
    """What the page calls a field; its own name where the page has no word for it."""
    known = texts(language)
    control = known.get(f"controls.{SETTINGS[field].control_name if field in SETTINGS else field}.label")
    return labels.get(field) or control or known.get(f"recipe.fields.{field}", field)
