"""Every word on the page, in every language: one JSON file each, with the same keys."""

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files

LANGUAGES = {"en": "English", "zh": "中文"}  # each in its own words
DEFAULT = "en"


@cache
def texts(language: str) -> dict[str, str]:
    """All texts of a language, under dotted keys ("controls.seed.label")."""
    return dict(_flat(json.loads((files(__package__) / f"{language}.json").read_text(encoding="utf-8"))))


def say(language: str, key: str, **values) -> str:
    """The text of a key in a language, with its {places} filled."""
    return texts(language)[key].format(**values)


def say_name(language: str, kind: str, name: str) -> str:
    """The display name of a checkpoint or class in a language; the name itself where the texts know no other."""
    return texts(language).get(f"{kind}.{name}", name)


def percent(share: float) -> str:
    """A share of 1 in percent, with two digits that count."""
    return f"{100 * share:.2g}%" if share < 0.995 else f"{100 * share:.4g}%"


def in_each(make: Callable[[str], str]) -> dict[str, str]:
    """A sentence in every language: what `make` makes of each."""
    return {language: make(language) for language in LANGUAGES}


def known_language(value) -> str:
    """A language of the page; the default one for anything else."""
    return value if isinstance(value, str) and value in LANGUAGES else DEFAULT


def language_of(accept_language: str | None) -> str:
    """The language for a browser's Accept-Language: the first that the page has, whatever its region or script."""
    wishes = []
    for place, part in enumerate((accept_language or "").split(",")[:50]):
        tag, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0.0
        wishes.append((-weight, place, tag.split("-")[0].lower()))
    return next((tag for weight, _, tag in sorted(wishes) if tag in LANGUAGES and weight < 0), DEFAULT)


def _flat(node: dict, prefix: str = ""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
