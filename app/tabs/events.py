"""What the events of all tabs have in common."""

from html import escape

import gradio as gr

from app.runs import NETWORK

# An event that answers at once, whatever the network does
PRIVATE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# One that runs the network, and waits for its turn
NETWORK_EVENT = {
    "show_progress": "hidden", "api_visibility": "private", "concurrency_id": NETWORK, "concurrency_limit": 1
}  # fmt: skip


def failure(message: str) -> gr.Error:
    """A message on the page, for what was asked and is not done. Gradio shows it as HTML."""
    return gr.Error(escape(message).replace("\n", "<br>"), print_exception=False)
