"""All texts of the page: one JSON file per language, with the same keys."""

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from app.texts.numbers import fill

LANGUAGES = {"en": "English", "zh": "简体", "zh-Hant": "繁體"}  # each language's own name for itself
DEFAULT = "en"
WRITTEN_AS = {"zh-tw": "zh-Hant", "zh-hk": "zh-Hant", "zh-mo": "zh-Hant"}  # places that use another language's script


@cache
def texts(language: str) -> dict[str, str]:
    """Return all texts of a language under dotted keys ("controls.seed.label")."""
    return dict(_flat(json.loads((files(__package__) / f"{language}.json").read_text(encoding="utf-8"))))


def say(language: str, key: str, **values) -> str:
    """Return the text of a key in a language, with its {placeholders} filled; see Count for plurals."""
    return fill(texts(language)[key], values)


def say_name(language: str, kind: str, name: str) -> str:
    """Return the display name of a checkpoint or class in a language; the name itself if the texts have none.

    kind: "checkpoints" or "classes".
    """
    return texts(language).get(f"{kind}.{name}", name)


def in_each(make: Callable[[str], str]) -> dict[str, str]:
    """Return `make(language)` for every language of the page."""
    return {language: make(language) for language in LANGUAGES}


def say_in_each(key: str, **values) -> dict[str, str]:
    """Return the text of a key in every language, with its {placeholders} filled."""
    return in_each(lambda language: say(language, key, **values))


def known_language(value) -> str:
    """Return the value if it is a language of the page, else the default language."""
    return value if isinstance(value, str) and value in LANGUAGES else DEFAULT


def language_of(accept_language: str | None) -> str:
    """Return the language for a browser's Accept-Language header: the most preferred one that the page has.

    Of a tag that the page does not have, the beginning counts ("zh-Hant-HK": "zh-Hant"; "en-GB": "en"). Entries after
    the first 50 are ignored.
    """
    wishes = []
    for place, part in enumerate((accept_language or "").split(",")[:50]):
        tag, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0.0
        wishes.append((-weight, place, tag))
    offered = (_offered(tag) for weight, _, tag in sorted(wishes) if weight < 0)
    return next(filter(None, offered), DEFAULT)


def _offered(tag: str) -> str | None:
    """Return the language of the page for a language tag: that of its longest known beginning (RFC 4647, lookup)."""
    known = {code.lower(): code for code in LANGUAGES} | WRITTEN_AS
    parts = tag.lower().split("-")
    beginnings = ("-".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((known[one] for one in beginnings if one in known), None)


def _flat(node: dict, prefix: str = ""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
