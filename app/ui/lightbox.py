"""The dialog that shows a clicked picture large, with its words and buttons; lightbox.js opens and fills it.

A picture takes part if it is an `a.zoom` (`picture_link` in html.py) inside an element with `data-gallery`, whose
pictures follow each other.

To add a button, add an Action to ACTIONS and the texts lightbox.NAME and, unless it closes the dialog,
lightbox.NAME_done. It shows for every picture that has the data attribute it needs (`data` of `Shown`). Pressed, it
sends a "picture-action" event from the picture up the page, with {action, picture} as its detail. A script of the room
that answers listens on the document, and sets a control or presses a hidden Gradio button:

    document.addEventListener("picture-action", ({ detail: { action, picture } }) => {
      if (action === "NAME") ...picture.dataset.query...
    });
"""

from dataclasses import dataclass

from app.texts import say_in_each
from app.ui.address import RUNS
from app.ui.html import words


@dataclass(frozen=True)
class Action:
    """A button of the dialog. needs: a data attribute of the pictures that have it. closes: it ends the dialog.

    not_in: the tab whose pictures do without it.
    """

    name: str
    needs: str
    closes: bool = False
    not_in: str = ""


# address.js answers those that send a run to a place
SENDS = tuple(Action(to, needs="query", closes=True, not_in=to.partition(".")[0]) for to in RUNS)
ACTIONS = (Action("seed", needs="seed"), *SENDS)


def lightbox() -> str:
    """Return the dialog, closed, in every language."""
    buttons = "".join(
        f'<button type="button" data-action="{one.name}" data-needs="{one.needs}" data-not-in="{one.not_in}"'
        f"{' data-closes' * one.closes}>"
        f"{_said(one.name)}</button>"
        for one in ACTIONS
    )
    done = "".join(
        f'<span data-done="{one.name}" hidden>{_said(f"{one.name}_done")}</span>' for one in ACTIONS if not one.closes
    )
    icons = "".join(
        f'<button type="button" class="icon {name}"><span class="unseen">{_said(name)}</span></button>'
        for name in ("back", "forth", "close")
    )
    return (
        f'<dialog aria-labelledby="lightbox-caption">{icons}<figure><img alt="">'
        '<figcaption><span id="lightbox-caption" aria-live="polite"></span> <span class="place"></span></figcaption>'
        f'</figure><div class="actions"><a class="save" download>{_said("save")}</a>{buttons}'
        f'<p role="status">{done}</p></div></dialog>'
    )


def _said(key: str) -> str:
    return words(say_in_each(f"lightbox.{key}"))
