"""What the events of all tabs have in common."""

from html import escape

import gradio as gr

from app.line import Seat
from app.runs import NETWORK

# An event that answers at once, whatever the network does. No progress on any component: Gradio's browser side would
# look for each of them in the tree of all components, twice an event, which took seconds
PRIVATE = {"queue": False, "show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}
# One that runs the network, and waits for its turn
NETWORK_EVENT = {
    "show_progress": "hidden", "show_progress_on": [], "api_visibility": "private",
    "concurrency_id": NETWORK, "concurrency_limit": 1,
}  # fmt: skip


def seat(request: gr.Request, tab: str) -> Seat:
    """The place of this visitor's run on a tab."""
    return Seat(request.session_hash, tab)


def failure(message: str) -> gr.Error:
    """A message on the page, for what was asked and is not done. Gradio shows it as HTML."""
    return gr.Error(escape(message).replace("\n", "<br>"), print_exception=False)
