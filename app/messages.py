"""Errors in the reader's language: what diffusion/ says in English, "field: what is wrong", said anew."""

import re

from app.texts import say, texts
from diffusion.axes import AxisError

FIELD_LABELS = {"class_label": "class_choice"}  # a setting whose control has another name

# What pydantic and diffusion/ write -> the text that says it; the groups are the text's places, in order.
PATTERNS = tuple(
    (re.compile(pattern, re.DOTALL), key, places)
    for pattern, key, places in (
        (r"(needs a value|.*, got None)", "missing", ("english",)),
        (r"must lie in (?:.+? = )?([\[(][^\])]+[\])]), got (.+)", "within", ("range", "got")),
        (r"Input should be greater than or equal to (\S+), got (.+)", "at_least", ("bound", "got")),
        (r"Input should be greater than (\S+), got (.+)", "above", ("bound", "got")),
        (r"Input should be less than or equal to (\S+), got (.+)", "at_most", ("bound", "got")),
        (r"Input should be less than (\S+), got (.+)", "below", ("bound", "got")),
        (r"Input should be a valid integer.*, got (.+)", "whole_number", ("got",)),
        (r"Input should be a (?:finite|valid) number.*, got (.+)", "number", ("got",)),
        (r"Input should be a valid boolean.*, got (.+)", "yes_no", ("got",)),
        (r"Input should be ('.+'), got (.+)", "choice", ("choices", "got")),
        (r"seed \+ num_images must not exceed (\S+), got (.+)", "seed_sum", ("bound", "got")),
        (r"(too large together).*", "too_noisy", ("english",)),
        (r"must have at most (\d+) values, got (\d+)", "too_many_values", ("most", "got")),
        (r"each value must stand there once, got (.+) again", "twice", ("got",)),
        (r"a range takes \[2\] to \[(\d+)\] values, got \[(\d+)\]", "range_count", ("most", "got")),
        (r"a range goes up, over at most (\d+) whole numbers, got (.+)", "range_up", ("most", "got")),
        (r"must be at most (\d+) characters long, got (\d+)", "too_long", ("most", "got")),
        (r"must be a (?:list of values or a )?text, got (.+)", "values_kind", ("got",)),
        (r"must be one of (.+), got (.+)", "choice", ("choices", "got")),
        (r"is on another axis already", "axis_twice", ()),
        (r"a grid has at most (\d+) cells, got (\d+)", "cells", ("most", "got")),
        (r"a grid has 1 to (\d+), got (\d+)", "axes", ("most", "got")),
        (r"ddpm is eta = 1.*", "eta_of_ddpm", ()),
        (r"\w+ draws no noise.*", "eta_of_solver", ()),
        (r"needs a class_label to guide to.*", "needs_class", ()),
        (r"this checkpoint has no classes.*", "no_classes", ()),
        (r"(?:the schedule|this checkpoint's schedule,) squaredcos_cap_v2,? has no use for them", "no_range", ()),
        (r"not a PNG file that can be read", "no_png", ()),
        (r"not a picture that can be read", "no_picture", ()),
        (r"carries no recipe.*", "no_recipe", ()),
        (r"(?:the file is )?larger than (.+)", "too_large", ("bound",)),
        (r"format (\S+) is of a newer version.*", "newer_recipe", ("got",)),
        (r"not JSON|must be a JSON object.*|longer than .*|the recipe has none", "broken_recipe", ()),
        (r"(?:Field required|Extra inputs are not permitted|String should match pattern).*", "broken_recipe", ()),
    )
)


class Refusal(ValueError):
    """Something that the page does not do; `key` and `values` are its text, the rest of errors.* in app/texts."""

    def __init__(self, key: str, **values):
        super().__init__(say("en", f"errors.{key}", **values))
        self.key, self.values = key, values


def explain(error: ValueError, language: str) -> str:
    """An error as one sentence a line, in a language. Plain text: escape it where it becomes HTML."""
    if isinstance(error, Refusal):
        return say(language, f"errors.{error.key}", **error.values)
    if isinstance(error, AxisError):
        key = "errors.axis" if error.position is None else "errors.axis_value"
        places = {"axis": say(language, f"explore.{error.axis}"), "position": error.position}
        return say(language, key, **places, problem=explain(error.problem, language))
    return "\n".join(_sentence(line, language) for line in str(error).splitlines())


def _sentence(line: str, language: str) -> str:
    field, separator, problem = line.partition(": ")
    if not separator or not re.fullmatch(r"[\w, '’]+", field):
        return say(language, "errors.other", english=line)
    for pattern, key, places in PATTERNS:
        if found := pattern.fullmatch(problem):
            problem = say(language, f"errors.{key}", **dict(zip(places, found.groups(), strict=True)))
            break
    else:
        problem = say(language, "errors.other", english=problem)
    return say(language, "errors.field", field=_label(field, language), problem=problem)


def _label(field: str, language: str) -> str:
    control = FIELD_LABELS.get(field, field)
    labels = texts(language)
    return labels.get(f"controls.{control}.label", labels.get(f"recipe.fields.{field}", field))
