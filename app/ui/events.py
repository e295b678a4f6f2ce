"""What the events of all tabs have in common."""

import functools
import logging
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from html import escape
from typing import Any

import gradio as gr

from app.texts import say
from app.texts.messages import explain

logger = logging.getLogger(__name__)

# What an event brings and what it answers: values by component, never by position. A component that an answer leaves
# out stays as it is. Inputs and outputs are given to Gradio as sets
Component = gr.blocks.Block
Sent = dict[Component, Any]
Shown = dict[Component, Any]
UNCHANGED: Shown = gr.skip()  # every component stays as it is; Gradio takes no empty dictionary

# An event that answers at once, whatever the network does. No progress on any component: Gradio's browser side would
# look for each of them in the tree of all components, twice an event, which took seconds
PRIVATE = {"queue": False, "show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}
# A dropdown says `input` twice for one choice (the option, then the list is left), and once where its list is left
# without any. So the page itself notes what stood there when the list was entered, or was written there since, and
# whether an option has been picked: by hand, the standing one too, or another one in any way
NOTES = "const list = (window.lists ??= {})[ID] ??= {};"
ENTERED = "(value) => { NOTES Object.assign(list, {stood: value, entry: document.activeElement}); }"
WRITTEN = "(value) => { NOTES if (document.activeElement === list.entry) list.stood = value; }"
PICKED = "() => { NOTES list.picked = true; }"
LEFT = "(value) => { NOTES list.picked ||= list.stood !== value; list.stood = value; }"
# Where an event's script throws, Gradio asks the server nothing
CHOSEN = """(...sent) => {
    NOTES if (!list.picked) throw new Error("nothing was picked");
    list.picked = false;
    return sent;
}"""


def on_choice(
    dropdown: gr.Dropdown, handler: Callable[..., Shown], inputs: Set[Component], outputs: Set[Component]
) -> gr.events.Dependency:
    """Call a handler once for each choice of a visitor from a dropdown, which is one of the inputs.

    What was chosen isn't sent back: on a slow machine that would undo the visitor's next choice.
    """

    @functools.wraps(handler)
    def answered(*sent) -> Shown:
        shown = dict(handler(*sent))
        if dropdown in shown:
            shown[dropdown] = {name: prop for name, prop in shown[dropdown].items() if name != "value"}
        return shown

    def script(text: str) -> str:
        return text.replace("NOTES", NOTES).replace("ID", str(dropdown._id))

    for listener, text in (
        (dropdown.focus, ENTERED),
        (dropdown.change, WRITTEN),
        (dropdown.select, PICKED),
        (dropdown.input, LEFT),
    ):
        listener(None, dropdown, None, js=script(text), **PRIVATE)
    how = {"js": script(CHOSEN), "preprocess": False, "trigger_mode": "always_last", **PRIVATE}
    return dropdown.input(answered, inputs, outputs, **how)


def failure(message: str) -> gr.Error:
    """A message on the page, for what was asked and is not done. Gradio shows it as HTML."""
    return gr.Error(escape(message).replace("\n", "<br>"), print_exception=False)


@contextmanager
def refusals(language: str, explained: Callable[[ValueError, str], str] = explain) -> Iterator[None]:
    """What is refused inside is told on the page. explained: the refusal in this language."""
    try:
        yield
    except ValueError as error:
        raise failure(explained(error, language)) from None


def to_the_end(
    looks: Iterator[Shown],
    failed: Shown,
    language: str,
    explained: Callable[[ValueError, str], str] = explain,
) -> Iterator[Shown]:
    """What a run shows, look by look; where it fails, the page shows `failed` and tells why."""
    try:
        with refusals(language, explained):
            yield from looks
    except gr.Error:
        yield failed
        raise
    except Exception:
        logger.exception("a run failed")
        yield failed
        raise failure(say(language, "errors.server")) from None
