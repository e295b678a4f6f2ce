"""The mathematics tab: a table of contents, and the open chapter with its experiments.

Only the open chapter is on the page: Gradio's browser side walks through all components again and again, and the
chapters have about 460 together.
"""

import time
from typing import TYPE_CHECKING

import gradio as gr

from app.controls.panel import RunControls
from app.maths.words import NAMES, chapter_words, number_of
from app.server.queue import Ticket
from app.server.services import Services
from app.texts import DEFAULT, known_language, say, say_name
from app.texts.messages import explain
from app.ui.events import PRIVATE, UNCHANGED, Component, Sent, Shown
from app.ui.html import plan_line
from app.ui.lazy_import import lazy_import
from app.ui.links import query_fields

if TYPE_CHECKING:
    from app.maths.chapter import Chapter
    from app.maths.experiment_panel import ExperimentPanel
    from app.maths.pages import Page
    from app.maths.scene import Scene

book, chapters, scenes = lazy_import("app.maths.book"), lazy_import("app.maths.chapter"), lazy_import("app.maths.scene")
pages, panels = lazy_import("app.maths.pages"), lazy_import("app.maths.experiment_panel")
TO_TOP = "() => document.querySelector('#maths').scrollIntoView()"


class MathsTab:
    """The tab's components and handlers. generate: the controls whose checkpoint and schedule the chapters follow."""

    def __init__(self, services: Services, language: gr.Radio, generate: RunControls):
        self.services, self.language, self.generate = services, language, generate
        self.page = gr.State(None)  # the Page that is drawn
        self.turned = gr.HTML(visible=False)  # changes with `page`: a State's change is seen after queued events only
        self.control_values = gr.State({})  # set in the experiments of all chapters; see ExperimentPanel
        self._lay_out()
        self._wire()

    def _lay_out(self) -> None:
        with gr.Row(elem_id="maths"):
            with gr.Column(scale=2, min_width=220, elem_id="contents"):
                self.chapter = gr.Radio(
                    _titles(DEFAULT), value=None, label=say(DEFAULT, "maths.contents"), elem_id="chapters"
                )
                self.about = gr.HTML(apply_default_css=False)
            with gr.Column(scale=9, min_width=300, elem_id="chapter"):
                shown = gr.render(
                    [self.page, self.control_values], [self.turned.change], queue=False, show_progress="hidden"
                )
                shown(self.draw)
                with gr.Row(elem_classes="go"):
                    self.back = gr.Button(say(DEFAULT, "maths.back"), size="sm")
                    self.forth = gr.Button(say(DEFAULT, "maths.forth"), size="sm", variant="primary")
                self.link = gr.HTML(apply_default_css=False)

    # Events ----------------------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> set[Component]:
        """Language, Generate's controls, the chosen chapter, the experiments' values and the drawn page."""
        return {self.language, self.chapter, self.control_values, self.page} | self.generate.inputs

    @property
    def whole(self) -> set[Component]:
        """The outputs of `turn`."""
        return {self.chapter, self.about, self.back, self.forth, self.link, self.page, self.turned}

    @property
    def opened(self) -> set[Component]:
        """The outputs of `open`."""
        return {self.chapter, self.control_values}

    def wire_turn(self, event) -> None:
        """Draw the open chapter, if any, after an event that opens the page or changes its language."""
        event.then(self.turn, self.inputs, self.whole, preprocess=False, **PRIVATE)

    def wire_enter(self, event) -> None:
        """Draw the chapter after an event that opens the tab, with Generate's values at that time."""
        event.then(self.enter, self.inputs, self.whole, preprocess=False, **PRIVATE)

    def _wire(self) -> None:
        raw = {"preprocess": False, **PRIVATE}
        self.chapter.input(self.turn, self.inputs, self.whole, **raw)
        self.back.click(self.back_to, self.inputs, self.whole, **raw).then(None, None, None, js=TO_TOP, **PRIVATE)
        self.forth.click(self.forth_to, self.inputs, self.whole, **raw).then(None, None, None, js=TO_TOP, **PRIVATE)

    # Handlers --------------------------------------------------------------------------------------------------------

    def open(self, query: str = "") -> Shown:
        """Open the page: at the chapter that a link names, if any, with the experiments' values in the link."""
        try:
            fields = query_fields(query)
        except ValueError:
            fields = {}
        name = _linked_chapter(fields)
        control_values = {}
        for experiment in book.BY_NAME[name].experiments if name else ():
            for control in experiment.controls:
                key = pages.control_key(experiment, control)
                if key in fields and isinstance(control, chapters.Control):
                    control_values[key] = control.parsed(fields[key])
        return {self.chapter: gr.update(value=name), self.control_values: control_values}

    def enter(self, request: gr.Request, sent: Sent) -> Shown:
        """Draw the chapter when the tab is opened, unless a link opened it: then opening the page draws it.

        A second drawing would undo the values that the reader has set by the time it arrives.
        """
        if sent[self.page] is None and sent[self.chapter] in NAMES:
            return UNCHANGED
        return self._turned(request, sent, lambda name: name or NAMES[0])

    def turn(self, request: gr.Request, sent: Sent) -> Shown:
        """Draw the chosen chapter, or the open one again."""
        return self._turned(request, sent, lambda name: name)

    def back_to(self, request: gr.Request, sent: Sent) -> Shown:
        """Draw the previous chapter."""
        return self._turned(request, sent, lambda name: _neighbour(name, -1))

    def forth_to(self, request: gr.Request, sent: Sent) -> Shown:
        """Draw the next chapter."""
        return self._turned(request, sent, lambda name: _neighbour(name, 1))

    def _turned(self, request: gr.Request, sent: Sent, choose) -> Shown:
        language, name, drawn = known_language(sent[self.language]), sent[self.chapter], sent[self.page]
        generate = self.generate.values(sent)
        name = choose(name if isinstance(name, str) and name in NAMES else None)
        try:
            scene = scenes.Scene.of(self.services, generate)
            about = _about(language, scene)
        except ValueError as error:
            scene, about = None, plan_line(explain(error, language), is_error=True)
        place = NAMES.index(name) if name else 0
        page = pages.Page(name, language, generate) if name else None
        if page != drawn:
            self.services.queue.stop(Ticket(request.session_hash, "maths"))  # the run in the chapter that is being left
        link = (
            pages.chapter_link(request, page, book.BY_NAME[name], scene, sent[self.control_values])
            if scene and name
            else ""
        )
        shown = {
            self.chapter: gr.update(choices=_titles(language), value=name, label=say(language, "maths.contents")),
            self.about: about,
            self.back: gr.update(value=say(language, "maths.back"), interactive=place > 0),
            self.forth: gr.update(value=say(language, "maths.forth"), interactive=place < len(NAMES) - 1),
            self.link: link,
        }
        return shown if page == drawn else shown | {self.page: page, self.turned: str(time.time_ns())}

    def draw(self, page: "Page | None", control_values: dict) -> None:
        """Lay out the open chapter: its text and its experiments, with their results.

        Each chapter has a column of its own: a component drawn in the place of another first gets the other's values.
        """
        drawn: list[ExperimentPanel] = []
        for chapter in book.CHAPTERS:
            is_open = page is not None and chapter.name == page.chapter
            with gr.Column(visible=is_open, elem_classes="prose", **pages.keyed(chapter.name)):
                if is_open:
                    drawn = self._draw(chapter, page, control_values)
        for panel in drawn:
            panel.wire()

    def _draw(self, chapter: "Chapter", page: "Page", control_values: dict) -> "list[ExperimentPanel]":
        text, scene = page.text, page.scene(self.services)
        head = f"# {chapter.number}. {text.title}\n\n> {text.sections['claim']}\n\n{text.sections['text']}"
        pages.markdown(head, **pages.keyed(chapter.name, "text"))
        drawn = [
            panels.ExperimentPanel(self.services, page, chapter, experiment, self.control_values, self.link)
            for experiment in chapter.experiments
        ]
        for panel in drawn:
            panel.lay_out(scene, control_values)
        said = f"{text.sections['tutorial']}\n\n<small>{say(page.language, 'maths.tutorial')}</small>"
        pages.markdown(said, elem_classes="tutorial", **pages.keyed(chapter.name, "tutorial"))
        return drawn


def _about(language: str, scene: "Scene") -> str:
    """Say which checkpoint and schedule the chapters use."""
    betas = scene.schedule.betas
    places = {
        "checkpoint": say_name(language, "checkpoints", scene.checkpoint.name),
        "T": scene.T, "first": f"{betas[0]:.3g}", "last": f"{betas[-1]:.3g}",
    }  # fmt: skip
    return f'<p class="note">{say(language, "maths.about", **places)}</p>'


def _titles(language: str) -> list[tuple[str, str]]:
    return [(f"{number_of(name)}. {chapter_words(name, language).title}", name) for name in NAMES]


def _linked_chapter(fields: dict[str, str]) -> str | None:
    if fields.get("tab") != "maths":
        return None
    return next((name for name in NAMES if str(number_of(name)) == fields.get("chapter")), NAMES[0])


def _neighbour(name: str | None, by: int) -> str:
    place = NAMES.index(name) + by if name else 0
    return NAMES[min(max(place, 0), len(NAMES) - 1)]
