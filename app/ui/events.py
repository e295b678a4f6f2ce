"""Event settings and helpers that all tabs share."""

import functools
import logging
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from html import escape
from typing import Any

import gradio as gr

from app.texts import say
from app.texts.messages import explain

logger = logging.getLogger(__name__)

# Handlers receive (Sent) and return (Shown) values by component, never by position. A component that is missing from
# an answer stays as it is. Inputs and outputs are given to Gradio as sets
Component = gr.blocks.Block
Sent = dict[Component, Any]
Shown = dict[Component, Any]
UNCHANGED: Shown = gr.skip()  # every component stays as it is; Gradio does not accept an empty dictionary

# For an event that answers at once, whatever the network does. No progress on any component: Gradio's frontend would
# look for each of them in the tree of all components, twice per event, which took seconds
PRIVATE = {"queue": False, "show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}
# A dropdown fires `input` twice for one choice (when the option is picked, and when the list is left), and once when
# the list is left without a choice. So the page itself notes the value that the list had when it was entered, or that
# was written to it since (`stood`), and whether an option was picked (`picked`): by hand, even the same one, or in any
# other way that changed the value
NOTES = "const list = (window.lists ??= {})[ID] ??= {};"
ENTERED = "(value) => { NOTES Object.assign(list, {stood: value, entry: document.activeElement}); }"
WRITTEN = "(value) => { NOTES if (document.activeElement === list.entry) list.stood = value; }"
PICKED = "() => { NOTES list.picked = true; }"
LEFT = "(value) => { NOTES list.picked ||= list.stood !== value; list.stood = value; }"
# If an event's script throws, Gradio does not call the server
CHOSEN = """(...sent) => {
    NOTES if (!list.picked) throw new Error("nothing was picked");
    list.picked = false;
    return sent;
}"""
# Gradio writes an answer into the page bit by bit, and controls report their changes in between
SETTLED = "() => new Promise((resolve) => setTimeout(resolve, 50))"


def on_settled(
    triggers: Sequence,
    handler: Callable[..., Shown],
    inputs: Set[Component],
    outputs: Set[Component],
    choices: Sequence[gr.events.Dependency] = (),
) -> None:
    """Call a handler when the page has come to rest after one of these events, and after the answers to choices.

    An answer may set many controls at once; the handler is then sent all of their new values, or none of them.
    """
    settled = gr.on(triggers, None, js=SETTLED, **PRIVATE)
    how = {"preprocess": False, "trigger_mode": "always_last", **PRIVATE}
    for event in (settled, *choices):
        event.then(handler, inputs, outputs, **how)


def on_choice(
    dropdown: gr.Dropdown, handler: Callable[..., Shown], inputs: Set[Component], outputs: Set[Component]
) -> gr.events.Dependency:
    """Call a handler once per choice that a visitor makes in a dropdown. The dropdown is one of the inputs.

    The chosen value isn't sent back: on a slow machine that would undo the visitor's next choice.
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
    """Return the error that shows a message on the page. The message is escaped, because Gradio shows it as HTML."""
    return gr.Error(escape(message).replace("\n", "<br>"), print_exception=False)


@contextmanager
def refusals(language: str, explained: Callable[[ValueError, str], str] = explain) -> Iterator[None]:
    """Show a ValueError that is raised inside as a message on the page. explained(error, language): its text."""
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
    """Yield each update of a run; if the run fails, yield `failed` and raise the message for the page.

    explained(error, language): the text of a ValueError. Any other exception is logged and has a general message.
    """
    try:
        with refusals(language, explained):
            yield from looks
    except gr.Error:
        yield failed
        raise
    except Exception:
        logger.exception("A run failed")
        yield failed
        raise failure(say(language, "errors.server")) from None
