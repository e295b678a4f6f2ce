"""The description of the endpoints at the foot of the page: closed, and filled when somebody opens it."""

from typing import TYPE_CHECKING

import gradio as gr

from app.server.services import Services
from app.texts import DEFAULT, say
from app.ui.events import PRIVATE, Component, Shown
from app.ui.lazy_import import lazy_import
from app.ui.links import page_address

if TYPE_CHECKING:
    from collections.abc import Set

references = lazy_import("app.api.reference")
TAB = "api"  # of a link that opens it


class ApiPanel:
    """The panel. Its content is in every language, so only its heading changes with the page's."""

    def __init__(self, services: Services):
        self.services = services
        with gr.Accordion(say(DEFAULT, "api.heading"), open=False, elem_id="api") as self.group:
            self.content = gr.HTML(apply_default_css=False)
        self.group.expand(self.fill, None, {self.content}, **PRIVATE)

    @property
    def shown(self) -> "Set[Component]":
        """The outputs of `open`."""
        return {self.group, self.content}

    def fill(self, request: gr.Request) -> Shown:
        """Describe the endpoints."""
        address = references.served_at(page_address(request))
        return {self.content: references.reference(self.services, address)}

    def open(self, language: str, request: gr.Request) -> Shown:
        """Return the panel as a link opens it: unfolded and filled."""
        return {self.group: gr.update(label=say(language, "api.heading"), open=True)} | self.fill(request)

    def rewrite(self, language: str) -> Shown:
        """Return its heading in a language."""
        return {self.group: gr.update(label=say(language, "api.heading"))}
