"""The address of the page follows what is on it, and opens it again: see address.js.

Each tab marks what it shows; see `Mark`. A button with `data-send` hands the run that its `data-query` describes to a
tab; see `sends`.
"""

from html import escape
from typing import Annotated, Self

import gradio as gr
from pydantic import BaseModel, Field, ValidationError

from app.texts import say_in_each
from app.ui.html import words
from app.ui.links import MAX_QUERY, query_fields
from app.ui.marks import FIRST_TAB
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import to_query

OPENS = "address.opens = (query, to) => trigger('select', {query, to});"
RECALL = "() => address.recall()"
# As the script of an event that follows a tab's choice: not if an address chose it, which says all itself. If a script
# throws, Gradio does not call the server
NOT_BY_ADDRESS = "(...sent) => { if (address.isOpening) throw new Error('the address chose the tab'); return sent; }"
ARRIVE = "() => address.arrive()"
RUNS = ("generate", "compare.a", "compare.b", "explore")
"""Where a run can be sent: a tab, or one of its runs. The page has a handler for each; texts: "send.NAME"."""

Query = Annotated[str, Field(max_length=MAX_QUERY)]


class Opener:
    """Components outside of the tabs. opens: its `select` says which address to open. told: what the browser knows."""

    def __init__(self):
        self.opens = gr.HTML(apply_default_css=False, js_on_load=OPENS, elem_id="address")
        self.told = gr.Textbox(visible=False)


class Visit(BaseModel):
    """What the browser knows when it loads the page.

    visitor: a secret number, the same for all loads in one tab of the browser. query: of the address. tabs: the query
    of the address that each tab had last. is_again: whether the page was reloaded, or is returned to. cut: the id of
    the progress line of a run that was on its way when the page was left.
    """

    visitor: str = Field("", pattern="^([0-9a-f]{32})?$")
    query: Query = ""
    tabs: dict[Annotated[str, Field(max_length=40)], Query] = Field(default={}, max_length=20)
    is_again: bool = False
    cut: str = Field("", max_length=40)

    @classmethod
    def of(cls, told, request: gr.Request) -> Self:
        """Read what a browser told; anything else counts as untold."""
        try:
            return cls.model_validate_json(told)
        except ValidationError:
            return cls(query=str(request.query_params or "")[:MAX_QUERY])

    @property
    def tab(self) -> str:
        """The tab that the address asks for, unchecked."""
        return tab_of(self.query)

    def query_of(self, tab: str, *also: str) -> str:
        """Return the query of a tab: the address's, if that asks for the tab or one of `also`; else its last one."""
        return self.query if self.tab in (tab, *also) else self.tabs.get(tab, "")


def tab_of(query: str) -> str:
    """Return the tab that a query asks for, unchecked; Generate if it names none."""
    try:
        return query_fields(query.removeprefix("?")).get("tab", FIRST_TAB)
    except ValueError:
        return FIRST_TAB


def sends(query: str, source: str) -> str:
    """Return buttons that send a run to the other tabs, as HTML. query: of its settings. source: the tab it is on."""
    label = words(say_in_each("send.label"))
    buttons = "".join(_send(query, to) for to in RUNS if to.partition(".")[0] != source)
    return f'<span class="sends" role="group">{label} {buttons}</span>'


def picture_data(settings: SamplingSettings, number: int, tab: str) -> dict[str, str | int]:
    """Return what the lightbox has to know of a run's picture, from 0, in a tab; see `Shown`."""
    return {"seed": settings.seed + number, "query": to_query(settings.part(number, number + 1)), "tab": tab}


def _send(query: str, to: str) -> str:
    name = words(say_in_each(f"send.{to}"))
    return f'<button type="button" data-send="{to}" data-query="{escape(query)}">{name}</button>'
