"""Links that hold the settings on the page: show them to copy, and read them back."""

import os
import re
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import gradio as gr

from app.texts import in_each, say
from app.texts.messages import Refusal
from app.ui.html import Words, copy_line, words
from app.ui.marks import Mark
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import from_query, to_query

MAX_QUERY, MAX_FIELDS = 20_000, 100
AMPERSANDS = re.compile("^(amp;)+")
STOPS = ".,;:!?\"'`*，。；：！？、…”’"
CLOSERS = {")": "(", "]": "[", "}": "{", ">": "<", "）": "（", "】": "【", "」": "「", "』": "『", "》": "《"}


def link_line(address: str, label: Words) -> str:
    """Return a link to copy. label: names it for screen readers."""
    return copy_line(address, label, *copy_words())


def noted_link(address: str, label: Words, mark: Mark | None = None) -> str:
    """Return a link to copy, below a line that says what it is. mark: of what the tab shows."""
    return f'<p class="note"{mark.attributes if mark else ""}>{words(label)}</p>{link_line(address, label)}'


def copy_words() -> list[Words]:
    """Return the texts of a copy button, before and after it copied."""
    return [in_each(lambda language, key=key: say(language, f"recipe.{key}")) for key in ("copy", "copied")]


def query_of(settings: SamplingSettings, prefix: str = "") -> list[tuple[str, str]]:
    """Return the fields of a query that describe settings, each name after a prefix."""
    return [(f"{prefix}{name}", value) for name, value in parse_qsl(to_query(settings))]


def settings_of_query(query: str) -> SamplingSettings | None:
    """Return the settings in the query text of an address; None if it has none. Raises ValueError naming the field."""
    return from_query(query_fields(query))


def query_fields(query: str) -> dict[str, str]:
    """Return the fields in the first MAX_QUERY letters of an address's query. Raises Refusal for over MAX_FIELDS.

    What programs do to a link that is pasted is undone: & written as &amp;, and the end of a sentence behind it.
    """
    try:
        fields = parse_qsl(query[:MAX_QUERY], keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Refusal("link_fields", most=MAX_FIELDS) from None
    if fields:
        name, value = fields[-1]
        fields[-1] = name, _without_end_of_sentence(value)
    return {AMPERSANDS.sub("", name): value for name, value in fields}


def _without_end_of_sentence(value: str) -> str:
    """Return a value without the punctuation behind it: brackets only if none of their kind was opened in it."""
    while value and (value[-1] in STOPS or _is_unopened(value)):
        value = value[:-1]
    return value


def _is_unopened(value: str) -> bool:
    last = value[-1]
    return last in CLOSERS and value.count(last) > value.count(CLOSERS[last])


def page_address(request: gr.Request) -> str:
    """Return the address that a visitor opens, without its query: the Space's, else that of the browser's referer."""
    if space := os.environ.get("SPACE_ID"):
        return f"https://huggingface.co/spaces/{space}"
    parts = urlsplit(request.headers.get("referer") or "")
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
