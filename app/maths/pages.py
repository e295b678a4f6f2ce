"""The open page of the chapters: chapter, language and scene; its link, and the keys of its components."""

from typing import NamedTuple

import gradio as gr

from app.maths.chapter import Chapter, Control, Experiment, Upload
from app.maths.scene import Scene
from app.maths.words import ChapterWords, chapter_words
from app.server.services import Services
from app.texts import say_in_each
from app.ui.links import noted_link, page_address, query_of
from app.ui.marks import Mark

LATEX = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "$", "right": "$", "display": False},
]


class Page(NamedTuple):
    """The chapter that is shown, its language, and the values of Generate's controls that it uses."""

    chapter: str
    language: str
    generate: dict

    @property
    def text(self) -> ChapterWords:
        """The chapter's words."""
        return chapter_words(self.chapter, self.language)

    def scene(self, services: Services) -> Scene | None:
        """Return the scene that its experiments run on; None if Generate's values cannot run."""
        try:
            return Scene.of(services, self.generate)
        except ValueError:
            return None


def control_key(experiment: Experiment, control: Control | Upload) -> str:
    """Return a control's key in a link and in the visitor's control_values."""
    return f"{experiment.name}.{control.name}"


def chapter_link(request: gr.Request, page: Page, chapter: Chapter, scene: Scene, control_values: dict) -> str:
    """Return the HTML of a link to a chapter with the values set in it, to copy."""
    fields = [("chapter", str(chapter.number))]
    for experiment in chapter.experiments:
        for control in experiment.controls:
            key = control_key(experiment, control)
            if isinstance(control, Control) and key in control_values:
                fields.append((key, str(control_values[key])))
    mark = Mark.of("maths", fields + query_of(scene.plan.settings))
    return noted_link(page_address(request) + mark.address, say_in_each("maths.link"), mark)


def keyed(*name: str | int) -> dict:
    """Return arguments that let a redrawn component replace its former self in the server's memory too."""
    return {"key": name, "preserved_by_key": []}


def markdown(text: str, **more) -> gr.Markdown:
    """Make a Markdown component that renders formulas."""
    return gr.Markdown(text, latex_delimiters=LATEX, **more)
