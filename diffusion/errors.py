"""Errors as data: which field is wrong, which problem it has (a key), and the numbers and names in the sentence.

Code that receives a value raises the error; code that shows it looks up the sentence by key, in any language. The
sentences here are those of the library and the command line; the web page has its own. Imports neither torch nor app.
"""

import re
import unicodedata
from typing import Self

from pydantic import BaseModel, ValidationError

from diffusion.error_sentences import SENTENCES

# pydantic's error type -> the key, and for each value of its sentence the name in the error's context
PYDANTIC = {
    "missing": ("required", {}),
    "extra_forbidden": ("unknown_field", {}),
    "greater_than_equal": ("at_least", {"bound": "ge"}),
    "greater_than": ("above", {"bound": "gt"}),
    "less_than_equal": ("at_most", {"bound": "le"}),
    "less_than": ("below", {"bound": "lt"}),
    "int_type": ("whole_number", {}),
    "int_parsing": ("whole_number", {}),
    "int_parsing_size": ("whole_number", {}),
    "int_from_float": ("whole_number", {}),
    "float_type": ("number", {}),
    "float_parsing": ("number", {}),
    "finite_number": ("finite", {}),
    "bool_type": ("yes_no", {}),
    "bool_parsing": ("yes_no", {}),
    "string_type": ("text", {}),
    "string_unicode": ("unicode", {}),
    "string_pattern_mismatch": ("pattern", {"pattern": "pattern"}),
    "string_too_long": ("too_long", {"most": "max_length"}),
    "too_long": ("too_many_values", {"most": "max_length"}),
    "literal_error": ("choice", {"choices": "expected"}),
}


class FieldError(ValueError):
    """A field is wrong; as text "field: what is wrong, got value".

    field: its name; "beta_start, beta_end" for fields that are wrong together; "" for no field. key: the problem, see
    SENTENCES. values: of its sentence. findings: the errors of single fields, one line of text each; only this error,
    unless `together` made it.
    """

    def __init__(self, field: str, key: str, /, **values):
        self.field, self.key, self.values = field, key, values
        self.findings: tuple[FieldError, ...] = (self,)
        problem = self.english()
        super().__init__(f"{field}: {problem}" if field else problem)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of all wrong fields."""
        return tuple(name for one in self.findings for name in one.field.split(", ") if name)

    def fresh(self) -> Self:
        """Return the same error as it was before it was raised.

        An error that is kept and raised again holds the frames of every call that it has passed, with all they hold.
        """
        again = type(self).__new__(type(self), *self.args)
        again.__dict__ |= {name: _unraised(value) for name, value in self.__dict__.items()}
        again.values = {name: _unraised(value) for name, value in self.values.items()}
        again.findings = tuple(again if one is self else one.fresh() for one in self.findings)
        return again

    def english(self) -> str:
        """Return the problem in English, without the field."""
        values = {name: _listed(value) if isinstance(value, tuple) else value for name, value in self.values.items()}
        return SENTENCES[self.key].format(**values)

    @classmethod
    def of(cls, field: str, key: str, value, **values) -> "FieldError":
        """Return the error of a field with this value; if the value is None, the error that it needs one."""
        return cls(field, "missing") if value is None else cls(field, key, got=shortened(value), **values)


def _unraised(value):
    if isinstance(value, FieldError):
        return value.fresh()
    return value.with_traceback(None) if isinstance(value, BaseException) else value


class PartError(FieldError):
    """An error within one part of a request: "part: field: problem".

    part: its name, such as one of two compared runs or an object that was sent. problem: the error there.
    """

    def __init__(self, part: str, problem: ValueError):
        super().__init__("", "part", part=part, problem=problem)


class AxisError(FieldError):
    """An error of an axis: "axis, value 2: field: problem".

    axis: its name. position: of the wrong value, from 1; None if the axis as a whole is wrong. problem: the field's
    error.
    """

    def __init__(self, axis: str, position: int | None, problem: FieldError):
        place = {} if position is None else {"position": position}
        super().__init__("", "axis_value" if place else "axis", axis=axis, **place, problem=problem)
        self.axis, self.position, self.problem = axis, position, problem


class CheckpointError(FieldError):
    """A folder is not a checkpoint that this program reads; as text one sentence. field: the checkpoint's name."""

    @property
    def fields(self) -> tuple[str, ...]:
        return ("checkpoint",)

    @classmethod
    def unreadable(cls, name: str, error: Exception, file: str = "") -> Self:
        """Return the refusal of a folder that raised an error of another kind. file: where, if that is known."""
        where = f"{file}: " if file else ""
        return cls(name, "unreadable", reason=f"{where}{first_line(error)}"[:300])


class FeatureError(CheckpointError):
    """A checkpoint's feature space cannot be used; as a text one sentence."""


def together(findings: list[FieldError]) -> FieldError:
    """Combine the errors of several fields: field and key of the first one, one line of text for each."""
    first = findings[0]
    if len(findings) == 1:
        return first
    error = FieldError(first.field, first.key, **first.values)
    error.findings = tuple(findings)
    error.args = ("\n".join(map(str, findings)),)
    return error


class CheckedModel(BaseModel):
    """A pydantic model whose fields are refused by a FieldError."""

    def __init__(self, **fields):
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise of_validation(error) from None


def of_validation(error: ValidationError) -> FieldError:
    """Convert what pydantic found, or a validator raised, to one error: the first finding of each field."""
    found: dict[str, FieldError] = {}
    for finding in error.errors():
        for one in _found(finding).findings:
            found.setdefault(one.field, one)
    return together(list(found.values()))


def _found(finding) -> FieldError:
    context = finding.get("ctx", {})
    raised = context.get("error")
    if isinstance(raised, FieldError):
        return raised
    if not finding["loc"]:
        return FieldError("", "other", reason=str(raised or finding["msg"]))
    field, value = str(finding["loc"][0]), finding["input"]
    key, places = PYDANTIC.get(finding["type"], ("invalid", {}))
    values = {place: _bound(context[name]) for place, name in places.items()}
    if key == "required":
        return FieldError(field, key)
    if key in ("too_long", "too_many_values"):
        return FieldError(field, key, **values, got=len(value))
    if key == "choice":  # "'a', 'b' or 'c'"
        values["choices"] = tuple(choice.strip("'") for choice in re.split(", | or ", values["choices"]))
    elif key == "pattern":
        values["pattern"] = repr(values["pattern"])
    elif key == "invalid":
        values["reason"] = str(raised or finding["msg"])
    return FieldError.of(field, key, value, **values)


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or else its type, in at most 300 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def printable(text: str, most: int = 200) -> str:
    """Return a text from outside, such as a file's name, as it can be shown anywhere: one line, valid Unicode, short.

    Bytes that are no UTF-8, control characters and marks that turn the direction of writing are escaped.
    """
    shown = "".join(_escaped(c) if _is_unsafe(c) else c for c in text)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def _is_unsafe(c: str) -> bool:
    # Zs: spaces; the two joiners belong to emoji and to scripts such as Persian's
    return not c.isprintable() and unicodedata.category(c) != "Zs" and c not in "\u200c\u200d"


def _escaped(c: str) -> str:
    if "\udc80" <= c <= "\udcff":  # how Python passes on a byte that is no UTF-8
        return f"\\x{ord(c) - 0xDC00:02x}"
    return (
        c.encode("unicode_escape").decode("ascii") if ord(c) < 128 else c.encode("ascii", "backslashreplace").decode()
    )


def shortened(value) -> str:
    """Return the repr of a value, at most 80 characters, for use in an error."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _bound(value):
    return f"{value:g}" if isinstance(value, float) else value  # 1, not 1.0


def _listed(choices: tuple) -> str:
    quoted = [repr(choice) for choice in choices]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}" if len(quoted) > 1 else "".join(quoted)
