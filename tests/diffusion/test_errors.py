"""Errors as data: the sentences, and the conversion of pydantic's errors."""

import ast
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diffusion.errors import PYDANTIC, SENTENCES, AxisError, CheckpointError, FieldError, PartError, of_validation
from diffusion.settings import SETTINGS

DIFFUSION = Path(__file__).resolve().parents[2] / "diffusion"
RAISERS = {"FieldError", "FieldError.of", "CheckpointError", "FeatureError", "super().__init__", "cls"}
INNER = {"axis", "axis_value", "part", "no_meaning"}  # raised by classes of their own, or what a field says by default


def named_keys() -> set[str]:
    """The keys that the package raises, read from its source."""
    found = set()
    for path in DIFFUSION.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in RAISERS or len(node.args) < 2:
                continue
            if isinstance(node.args[1], ast.Constant) and isinstance(node.args[1].value, str):
                found.add(node.args[1].value)
    return found | {setting.when.error for setting in SETTINGS.values() if setting.when and setting.when.error}


def test_every_key_has_a_sentence_and_every_sentence_is_said():
    found = named_keys()
    assert len(found) > 60
    assert found <= set(SENTENCES)
    assert set(SENTENCES) - found - {key for key, _ in PYDANTIC.values()} <= INNER | {"invalid"}


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    n: int = Field(1, ge=1, lt=10)
    x: float = Field(0.5, gt=0, le=1)
    name: str = Field("a", pattern="^[a-z]+$", max_length=3)
    yes: bool = True
    row: tuple[int, ...] = Field((1,), max_length=2)
    fits: bool = True

    @model_validator(mode="after")
    def _fits(self):
        if not self.fits:
            raise FieldError("n, x", "no_range")
        if self.name == "old":
            raise ValueError("name, x: do not fit")
        return self


@pytest.mark.parametrize(
    ("fields", "key", "text"),
    [
        ({"n": 0}, "at_least", "n: Input should be greater than or equal to 1, got 0"),
        ({"n": 10}, "below", "n: Input should be less than 10, got 10"),
        ({"x": 0.0}, "above", "x: Input should be greater than 0, got 0.0"),
        ({"x": 2.0}, "at_most", "x: Input should be less than or equal to 1, got 2.0"),
        ({"n": True}, "whole_number", "n: Input should be a valid integer, got True"),
        ({"n": None}, "missing", "n: needs a value"),
        ({"x": "1"}, "number", "x: Input should be a valid number, got '1'"),
        ({"x": float("nan")}, "finite", "x: Input should be a finite number, got nan"),
        ({"yes": 1}, "yes_no", "yes: Input should be a valid boolean, got 1"),
        ({"name": 1}, "text", "name: Input should be a valid string, got 1"),
        ({"name": "A"}, "pattern", "name: String should match pattern '^[a-z]+$', got 'A'"),
        ({"name": "abcd"}, "too_long", "name: must be at most 3 characters long, got 4"),
        ({"row": (1, 2, 3)}, "too_many_values", "row: must have at most 2 values, got 3"),
        ({"row": 3}, "invalid", "row: Input should be a valid tuple, got 3"),
        ({"other": 1}, "unknown_field", "other: Extra inputs are not permitted, got 1"),
        ({"fits": False}, "no_range", "n, x: the schedule squaredcos_cap_v2 has no use for them"),
        ({"name": "old"}, "other", "name, x: do not fit"),
    ],
)
def test_what_pydantic_finds_has_a_key(fields, key, text):
    with pytest.raises(ValidationError) as caught:
        Model(**fields)
    error = of_validation(caught.value)
    assert (error.key, str(error)) == (key, text)
    assert error.findings == (error,)


def test_several_fields_have_a_line_each():
    with pytest.raises(ValidationError) as caught:
        Model(n=0, x=2.0, other=1)
    error = of_validation(caught.value)
    assert error.fields == ("n", "x", "other")
    assert str(error).splitlines() == [str(one) for one in error.findings]


def test_an_error_within_another_keeps_its_own():
    problem = FieldError("eta", "within", range="[0, 1]", got=2)
    assert str(PartError("b", problem)) == "b: eta: must lie in [0, 1], got 2"
    assert str(AxisError("x", 2, problem)) == "x, value 2: eta: must lie in [0, 1], got 2"
    assert str(AxisError("x", None, problem)) == "x: eta: must lie in [0, 1], got 2"
    assert str(CheckpointError("here", "wrong_schedule", problem=problem)) == f"here: {problem}"
    assert CheckpointError("here", "parts").fields == ("checkpoint",)
