"""Links to what stands on the page: to copy, and what they bring in."""

import os
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import gradio as gr

from app.texts import in_each, say
from app.texts.messages import Refusal
from app.ui.html import Words, copy_line
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import from_query

MAX_QUERY, MAX_FIELDS = 20_000, 100


def link_line(address: str, label: str) -> str:
    """A link to copy. label: for those who do not see what stands above it."""
    return copy_line(address, label, *copy_words())


def noted_link(address: str, label: str) -> str:
    """The same below a line that says what it is."""
    return f'<p class="note">{label}</p>{link_line(address, label)}'


def copy_words() -> list[Words]:
    """What a button that copies says, before and after."""
    return [in_each(lambda language, key=key: say(language, f"recipe.{key}")) for key in ("copy", "copied")]


def settings_of_query(query: str) -> SamplingSettings | None:
    """The settings in the query of an address, as a text. Raises ValueError naming the field."""
    return from_query(query_fields(query))


def query_fields(query: str) -> dict[str, str]:
    """The fields in the query of an address, as far as a reasonable one goes. Raises Refusal for too many."""
    try:
        return dict(parse_qsl(query[:MAX_QUERY], keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        raise Refusal("link_fields", most=MAX_FIELDS) from None


def page_address(request: gr.Request) -> str:
    """The address that a visitor opens, without its query: of the Space, or as the browser's referer says."""
    if space := os.environ.get("SPACE_ID"):
        return f"https://huggingface.co/spaces/{space}"
    parts = urlsplit(request.headers.get("referer") or "")
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
