"""An axis of a grid: a field of the settings and its values, from a text or a list."""

import re
from dataclasses import dataclass
from math import floor, isfinite
from typing import Self

from diffusion.errors import AxisError, FieldError, shortened
from diffusion.settings import SETTINGS
from diffusion.sharing.recipe import from_text

AXES = {name: setting for name, setting in SETTINGS.items() if setting.axis}
FIELDS = tuple(sorted(AXES, key=lambda name: AXES[name].axis.place))
MAX_AXES, MAX_VALUES, MAX_CELLS = 3, 20, 120
MAX_TEXT = 500  # characters in the text of an axis
SAMPLERS_AND_ETAS = "samplers"  # only on a frontier's axis: names, and numbers for the eta of DDIM
LEAST_SAMPLES, MOST_SAMPLES = 20, 2000  # samples for one KID of a frontier

NUMBER = r"[+-]?(?:\d{1,18}\.?\d{0,18}|\.\d{1,18})(?:[eE][+-]?\d{1,3})?"
SPREAD = re.compile(rf"({NUMBER})\s*-\s*({NUMBER})\s*\[\s*(\d{{1,4}})\s*\]", re.ASCII)
FROM_TO = re.compile(r"(\d{1,18})\s*-\s*(\d{1,18})", re.ASCII)


@dataclass(frozen=True)
class Axis:
    """A field of SamplingSettings, or SAMPLERS_AND_ETAS, and its values in order.

    name: what errors call the axis.
    """

    name: str
    field: str
    values: tuple

    @classmethod
    def of(cls, name: str, field: str, values) -> Self:
        """Return an axis from a text (see `parsed`) or a list of values. Raises AxisError.

        Whether the field accepts a value is checked later, when the cells are made.
        """
        if field not in (*FIELDS, SAMPLERS_AND_ETAS):
            problem = FieldError("axis", "one_of", choices=", ".join(FIELDS), got=shortened(field))
            raise AxisError(name, None, problem)
        if isinstance(values, str):
            values = parsed(name, field, values)
        if not isinstance(values, list | tuple):
            raise AxisError(name, None, FieldError(field, "values_kind", kind=type(values).__name__))
        if not values:
            raise AxisError(name, None, FieldError(field, "missing"))
        if len(values) > MAX_VALUES:
            raise AxisError(name, None, _too_many(field, len(values)))
        for k, value in enumerate(values):
            if any(value == other and type(value) is type(other) for other in values[:k]):
                raise AxisError(name, k + 1, FieldError(field, "twice", got=str(value)[:40]))
        return cls(name, field, tuple(values))


def parsed(name: str, field: str, text: str) -> list:
    """Return the values in a text: "10, 20, 50", "1-10[5]" (five even values from 1 to 10), "0-7" (whole numbers).

    Evenly spaced values of a field of whole numbers are rounded to the nearest, halves up. Text that is not a value of
    the field's kind is left as it is, for the settings to refuse. Raises AxisError.
    """
    if len(text) > MAX_TEXT:
        raise AxisError(name, None, FieldError(field, "too_long", most=MAX_TEXT, got=len(text)))
    values = []
    for position, part in enumerate(filter(None, (part.strip() for part in re.split("[,;，；、\n]", text))), 1):
        values += _part(name, position, field, part)
        if len(values) > MAX_VALUES:
            raise AxisError(name, None, _too_many(field, len(values)))
    return values


def _part(name: str, position: int, field: str, text: str) -> list:
    if field == SAMPLERS_AND_ETAS:
        found = _part(name, position, "eta", text)
        return [value.lower() if isinstance(value, str) else value for value in found]
    setting = AXES[field]
    if not setting.is_number:
        return [text.lower()] if setting.choices else [from_text(field, text)]
    if setting.axis.has_none and text.lower() == "none":
        return [None]
    is_whole = setting.is_whole
    if (found := SPREAD.fullmatch(text)) and isfinite(float(found[1])) and isfinite(float(found[2])):
        first, last, count = float(found[1]), float(found[2]), int(found[3])
        if not 2 <= count <= MAX_VALUES:
            raise AxisError(name, position, FieldError(field, "range_count", most=MAX_VALUES, got=count))
        return [_even(first, last, k / (count - 1), is_whole) for k in range(count)]
    if is_whole and (found := FROM_TO.fullmatch(text)):
        first, last = int(found[1]), int(found[2])
        if not 0 <= last - first < MAX_VALUES:
            raise AxisError(name, position, FieldError(field, "range_up", most=MAX_VALUES, got=text))
        return list(range(first, last + 1))
    return [from_text(field, text)]


def _even(first: float, last: float, share: float, is_whole: bool) -> float | int:
    value = first + (last - first) * share
    return floor(value + 0.5) if is_whole else float(f"{value:.10g}")  # not 0.30000000000000004


def _too_many(field: str, count: int) -> FieldError:
    return FieldError(field, "too_many_values", most=MAX_VALUES, got=count)
