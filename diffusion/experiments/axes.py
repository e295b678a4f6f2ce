"""An axis of a grid: a field of the settings and its values, from a text or a list."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import floor, isfinite
from typing import Any, Self

from diffusion.errors import AxisError, FieldError, shortened
from diffusion.random_seed import RANDOM
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
BY_STEP = re.compile(rf"({NUMBER})\s*-\s*({NUMBER})\s*\(\s*({NUMBER})\s*\)", re.ASCII)
FROM_TO = re.compile(r"(\d{1,18})\s*-\s*(\d{1,18})", re.ASCII)
SEPARATORS = ",;、\n"
DASHES = str.maketrans(dict.fromkeys("~〜∼–—−‐‑", "-"))  # what people and keyboards write between the ends of a range


@dataclass(frozen=True)
class Names:
    """What the values of a field are called, besides how the program writes them.

    known: name -> value, in any writing. listed: the names that an error lists, for a field whose values are numbers.
    """

    known: Mapping[str, Any] = field(default_factory=dict)
    listed: tuple[str, ...] = ()

    def folded(self) -> dict[str, Any]:
        """Return the values by names as `_folded` writes them."""
        return {_folded(name): value for name, value in self.known.items()}


@dataclass(frozen=True)
class Axis:
    """A field of SamplingSettings, or SAMPLERS_AND_ETAS, and its values in order.

    name: what errors call the axis.
    """

    name: str
    field: str
    values: tuple

    @classmethod
    def of(cls, name: str, field: str, values, names: Names | None = None) -> Self:
        """Return an axis from a text (see `parsed`) or a list of values. Raises AxisError.

        names: further names of the field's values. Whether the field accepts a value is checked later, when the cells
        are made.
        """
        if field not in (*FIELDS, SAMPLERS_AND_ETAS):
            problem = FieldError("axis", "one_of", choices=", ".join(FIELDS), got=shortened(field))
            raise AxisError(name, None, problem)
        if isinstance(values, str):
            values = parsed(name, field, values, names)
        if not isinstance(values, list | tuple):
            raise AxisError(name, None, FieldError(field, "values_kind", kind=type(values).__name__))
        known = _known(field, names)
        values = [_named(value, known, value) if isinstance(value, str) else value for value in values]
        if not values:
            raise AxisError(name, None, FieldError(field, "missing"))
        if len(values) > MAX_VALUES:
            raise AxisError(name, None, _too_many(field, len(values)))
        for k, value in enumerate(values):
            if field == "seed" and value == RANDOM:
                raise AxisError(name, k + 1, FieldError(field, "random_on_axis"))
            if any(value == other and type(value) is type(other) for other in values[:k]):
                raise AxisError(name, k + 1, FieldError(field, "twice", got=str(value)[:40]))
        return cls(name, field, tuple(values))


def parsed(name: str, field: str, text: str, names: Names | None = None) -> list:
    """Return the values in a text: "10, 20, 50", "1-10[5]" (five even values from 1 to 10), "1-9 (+2)" (in steps of 2),
    "0-7" (whole numbers).

    Full-width letters and signs mean the same as others. A value can be written by any of its names, or by the
    beginning of only one of them.

    Evenly spaced values of a field of whole numbers are rounded to the nearest, halves up. Text that is not a value of
    the field's kind is left as it is, for the settings to refuse. Raises AxisError.
    """
    if len(text) > MAX_TEXT:
        raise AxisError(name, None, FieldError(field, "too_long", most=MAX_TEXT, got=len(text)))
    values, names = [], names or Names()
    known = _known(field, names)
    for position, part in enumerate(_parts(_plain(text), known), 1):
        values += _part(name, position, field, part, known, names.listed)
        if len(values) > MAX_VALUES:
            raise AxisError(name, None, _too_many(field, len(values)))
    return values


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(DASHES)


def _folded(name: str) -> str:
    return _plain(name).casefold().strip()


def _known(field: str, names: Names | None) -> dict[str, Any]:
    """Return the values of a field by all their names, folded: those of the program, their titles, and `names`."""
    setting = SETTINGS["sampler" if field == SAMPLERS_AND_ETAS else field]
    own = dict(setting.titles) if setting.choices else {}
    known = {_folded(title): value for value, title in own.items()} | {_folded(value): value for value in own}
    known |= {"none": None} if setting.axis.has_none else {}
    return (names.folded() if names else {}) | known


def _parts(text: str, known: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values' texts; a name can have a separator in it."""
    by_length = sorted(known, key=len, reverse=True)
    name = re.compile(rf"\s*({'|'.join(map(re.escape, by_length))})\s*(?=[{SEPARATORS}]|$)", re.IGNORECASE)
    other, at = re.compile(f"[^{SEPARATORS}]*"), 0
    while at < len(text):
        found = (known and name.match(text, at)) or other.match(text, at)
        if part := found[0].strip():
            yield part
        at = found.end() + 1


def _named(text: str, known: Mapping[str, Any], otherwise):
    """Return the value with this name, or the only one whose name begins with it and goes on with another word."""
    folded = _folded(text)
    if folded in known:
        return known[folded]
    begun = [name for name in known if name.startswith(folded) and not name[len(folded)].isalnum()]
    values = {repr(known[name]): known[name] for name in begun if len(folded) > 1}
    return next(iter(values.values())) if len(values) == 1 else otherwise


def _part(name: str, position: int, field: str, text: str, known: Mapping[str, Any], listed: tuple[str, ...]) -> list:
    unnamed = object()
    if (value := _named(text, known, unnamed)) is not unnamed:
        return [value]
    pieces = text.split()
    if len(pieces) > 1 and all(
        re.fullmatch(NUMBER, piece, re.ASCII) or _named(piece, known, unnamed) is not unnamed for piece in pieces
    ):
        return [value for piece in pieces for value in _part(name, position, field, piece, known, listed)]
    if field == SAMPLERS_AND_ETAS:
        found = _part(name, position, "eta", text, {}, ())
        return [value.lower() if isinstance(value, str) else value for value in found]
    setting = AXES[field]
    if not setting.is_number:
        return [text.lower()] if setting.choices else [from_text(field, text)]
    is_whole = setting.is_whole
    if (found := SPREAD.fullmatch(text)) and isfinite(float(found[1])) and isfinite(float(found[2])):
        first, last, count = float(found[1]), float(found[2]), int(found[3])
        if not 2 <= count <= MAX_VALUES:
            raise AxisError(name, position, FieldError(field, "range_count", most=MAX_VALUES, got=count))
        return [_even(first, last, k / (count - 1), is_whole) for k in range(count)]
    if (found := BY_STEP.fullmatch(text)) and all(isfinite(float(one)) for one in found.groups()):
        return _by_step(name, position, field, text, *map(float, found.groups()))
    if is_whole and (found := FROM_TO.fullmatch(text)):
        first, last = int(found[1]), int(found[2])
        if not 0 <= last - first < MAX_VALUES:
            raise AxisError(name, position, FieldError(field, "range_up", most=MAX_VALUES, got=text))
        return list(range(first, last + 1))
    value = from_text(field, text)
    if listed and isinstance(value, str) and not re.match("[-+.0-9]", value):
        raise AxisError(name, position, FieldError(field, "one_of", choices=listed, got=shortened(text)))
    return [value]


def _by_step(name: str, position: int, field: str, text: str, first: float, last: float, step: float) -> list:
    """Return first, first + step, ... up to last; whole numbers for a field of whole numbers if all three are."""
    count = floor((last - first) / step + 1e-9) + 1 if step else 0
    if count < 1:
        raise AxisError(name, position, FieldError(field, "range_step", got=text))
    if count > MAX_VALUES:
        raise AxisError(name, None, _too_many(field, count))
    is_whole = AXES[field].is_whole and first.is_integer() and step.is_integer()
    values = (float(f"{first + step * k:.10g}") for k in range(count))
    return [int(value) if is_whole else value for value in values]


def _even(first: float, last: float, share: float, is_whole: bool) -> float | int:
    value = first + (last - first) * share
    return floor(value + 0.5) if is_whole else float(f"{value:.10g}")  # not 0.30000000000000004


def _too_many(field: str, count: int) -> FieldError:
    return FieldError(field, "too_many_values", most=MAX_VALUES, got=count)
