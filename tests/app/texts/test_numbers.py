"""How numbers are written: no exponents of a programming language, three digits that count, and the right plural."""

import math

import pytest

from app.texts import LANGUAGES, say
from app.texts.numbers import fill, number, percent


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"), (999.0, "999"), (1e2, "100"), (1234.5, "1,230"), (99999, "100,000"), (0.0000404, "0.0000404"),
        (4.6e-22, "4.6×10⁻²²"), (1e-12, "1×10⁻¹²"), (3.2e17, "3.2×10¹⁷"), (-0.51234, "−0.512"), (12.345, "12.3"),
        (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_people_write_them(value, said):
    assert number(value) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (4.6e-24, "< 0.01%"), (0.0001, "0.01%"), (0.00635, "0.635%"), (0.28, "28%"), (0.2845, "28.4%"),
        (0.9949, "99.5%"), (0.9999, "99.99%"), (0.99999, "> 99.99%"), (1.0, "100%"), (0.0, "0%"),
    ],
)  # fmt: skip
def test_shares_are_never_nothing_unless_they_are(share, said):
    assert percent(share) == said


def test_a_text_has_the_plural_of_its_number():
    text = "{n:,} network {n:call|calls}"
    assert [fill(text, {"n": n}) for n in (0, 1, 2, 1000)] == [
        "0 network calls", "1 network call", "2 network calls", "1,000 network calls",
    ]  # fmt: skip
    assert fill("{n}", {"n": 1000}) == "1000"  # a seed or a timestep


def test_one_step_is_one_step():
    places = {"calls": 1, "evaluations": 1, "images": "1 picture", "first": 999, "last": 999, "signal": "1%"}
    assert say("en", "plan.run", **places).startswith("1 network call for 1 picture: 1 pass of a picture.")
    assert say("en", "status.done", step=1, steps=1, seconds="0.1") == "Done: 1 step in 0.1 s."
    many = places | {"calls": 1000, "evaluations": 18_000}
    assert all("1,000" in say(language, "plan.run", **many) for language in LANGUAGES)
