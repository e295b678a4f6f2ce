"""A page of the chapters: which chapter, in which language, on what; its link, and how its components are kept."""

from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

import gradio as gr

from app.maths.chapter import Chapter, Control, Experiment, Upload
from app.maths.scene import Scene
from app.maths.words import ChapterWords, chapter_words
from app.server.services import Services
from app.texts import say
from app.ui.links import noted_link, page_address
from diffusion.sharing.recipe import to_query

LATEX = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "$", "right": "$", "display": False},
]


class Page(NamedTuple):
    """What the place of the chapters shows: a chapter, in a language, on the values of Generate's controls."""

    chapter: str
    language: str
    generate: dict

    @property
    def text(self) -> ChapterWords:
        """The chapter's words."""
        return chapter_words(self.chapter, self.language)

    def scene(self, services: Services) -> Scene | None:
        """What its experiments run on; None where Generate's values cannot run."""
        try:
            return Scene.of(services, self.generate)
        except ValueError:
            return None


def control_key(experiment: Experiment, control: Control | Upload) -> str:
    """A control's name in a link, and in what a visitor has set."""
    return f"{experiment.name}.{control.name}"


def chapter_link(request: gr.Request, page: Page, chapter: Chapter, scene: Scene, control_values: dict) -> str:
    """The link to a chapter with what was set in it, to copy."""
    fields = [("tab", "maths"), ("chapter", str(chapter.number))]
    for experiment in chapter.experiments:
        for control in experiment.controls:
            key = control_key(experiment, control)
            if isinstance(control, Control) and key in control_values:
                fields.append((key, str(control_values[key])))
    fields += parse_qsl(to_query(scene.plan.settings))
    return noted_link(f"{page_address(request)}?{urlencode(fields)}", say(page.language, "maths.link"))


def keyed(*name: str | int) -> dict:
    """What a component is told so that, drawn again, it takes the place of itself in the server's memory too."""
    return {"key": name, "preserved_by_key": []}


def markdown(text: str, **more) -> gr.Markdown:
    """Text with formulas."""
    return gr.Markdown(text, latex_delimiters=LATEX, **more)
