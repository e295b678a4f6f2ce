"""Errors in the visitor's language: the sentence of an error's key in app/texts, filled with its values."""

import logging
from collections.abc import Mapping

from app.texts import in_each, say, say_name, texts
from diffusion.errors import CheckpointError, FieldError
from diffusion.settings import SETTINGS

logger = logging.getLogger(__name__)


class PageError(FieldError):
    """An error of a field that only the page raises: its sentence is in app/texts alone."""

    def english(self) -> str:
        """Return the problem in English, without the field."""
        return say("en", f"errors.{self.key}", **self.values)


class Refusal(PageError):
    """A request that the page refuses, as a whole sentence that names its own field, if it has one."""

    def __init__(self, key: str, /, **values):
        super().__init__("", key, **values)


def explain(error: ValueError, language: str, labels: Mapping[str, str] | None = None) -> str:
    """Return an error in a language, one sentence per line. Plain text: escape it before it goes into HTML.

    labels: labels of fields that differ from the page's. An error that is not a FieldError has no sentence: the page
    shows a general one, and the log has the error.
    """
    if not isinstance(error, FieldError):
        logger.warning("Not a FieldError; the page shows a general message", exc_info=error)
        return say(language, "errors.other")
    return "\n".join(_sentence(one, language, labels or {}) for one in error.findings)


def explain_in_each(error: ValueError) -> dict[str, str]:
    """Return an error in every language."""
    return in_each(lambda language: explain(error, language))


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
    """Return an error's values, worded for its sentence."""
    places = {}
    for name, value in error.values.items():
        if isinstance(value, ValueError):
            value = explain(value, language, labels)
            if error.field:  # goes into a sentence that has its own full stop
                value = value.removesuffix(".").removesuffix("。")
        elif isinstance(value, tuple):
            names = (say_name(language, "classes", str(one)) for one in value)
            value = say(language, "errors.separator").join(names)
        elif name == "field":
            value = _label(value, language, labels)
        elif name == "sampler":
            value = texts(language).get(f"controls.sampler.{value}", value)
        elif name == "axis":
            value = texts(language).get(f"explore.{value}", value)
        places[name] = value
    return places


def _label(field: str, language: str, labels: Mapping[str, str]) -> str:
    """Return the page's label of a field; the field's own name if the page has none."""
    known = texts(language)
    control = known.get(f"controls.{SETTINGS[field].control_name if field in SETTINGS else field}.label")
    return labels.get(field) or control or known.get(f"recipe.fields.{field}", field)
