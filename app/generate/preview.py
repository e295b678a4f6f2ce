"""Show what a run will do before any sampling: a short sentence, and behind it plots and each control's effect."""

from html import escape
from typing import TYPE_CHECKING

import gradio as gr

from app.controls.panel import RunControls
from app.controls.values import defaults, plan_run, settings_of
from app.generate.elsewhere import table
from app.generate.quick_presets import quick_links
from app.server.jobs import NETWORK_EVENT
from app.server.services import Services
from app.texts import DEFAULT, known_language, say
from app.texts.messages import explain
from app.ui.events import PRIVATE, UNCHANGED, Component, Sent, Shown
from app.ui.html import plan_line
from app.ui.lazy_import import lazy_import
from app.ui.links import query_of
from app.ui.marks import Mark

if TYPE_CHECKING:
    from diffusion.pipeline import DDPMLabPipeline
    from diffusion.plan import Plan

sentences, views = lazy_import("app.controls.sentences"), lazy_import("app.generate.render")


class Preview:
    """The components that show what the settings will do."""

    def __init__(self, services: Services):
        self.services = services
        self.plots, self.captions = [], []

    def lay_out_plan(self) -> None:
        """Lay out the links to runs to begin with, and the sentence."""
        self.quick = gr.HTML(apply_default_css=False)
        self.plan = gr.HTML(apply_default_css=False)

    def lay_out_behind(self) -> None:
        """Lay out what stands behind the sentence, closed: details, plots and explanations, and names elsewhere."""
        self.behind = gr.Accordion(say(DEFAULT, "behind.heading"), open=False, elem_id="behind")
        with self.behind:
            self.details = gr.HTML(apply_default_css=False)
            with gr.Row(elem_id="plots"):
                for caption in _captions(DEFAULT):
                    with gr.Column(min_width=0):
                        self.plots.append(gr.Plot(show_label=False, container=False))
                        self.captions.append(gr.HTML(caption, apply_default_css=False))
            self.explanations = gr.HTML(apply_default_css=False, elem_id="explanations")
        self.elsewhere = gr.Accordion(say(DEFAULT, "elsewhere.heading"), open=False)
        with self.elsewhere:
            self.names = gr.HTML(table(DEFAULT), apply_default_css=False)

    @property
    def worded(self) -> set[Component]:
        """The outputs of `rewrite`."""
        return {*self.captions, self.behind, self.elsewhere, self.names}

    @property
    def told(self) -> set[Component]:
        """The outputs of `tell`."""
        return {self.quick, self.plan, self.details, *self.plots, self.explanations}

    def rewrite(self, language: str) -> Shown:
        """Return the words that no run changes, in a language."""
        headings = {
            self.behind: gr.update(label=say(language, "behind.heading")),
            self.elsewhere: gr.update(label=say(language, "elsewhere.heading")),
        }
        return dict(zip(self.captions, _captions(language), strict=True)) | headings | {self.names: table(language)}

    def tell(self, language: str, values: dict) -> "tuple[Shown, tuple[DDPMLabPipeline, Plan] | None]":
        """Return what the settings will do, or what is wrong with them; and their run, None if they cannot run."""
        run, said = self._planned(language, values)
        if run is None:
            return {self.plan: said}, None
        plots, explanations = views.before(run[1], language)
        details = f'<p class="hint">{escape(sentences.plan_sentence(run[1], language))}</p>'
        shown: Shown = {self.plan: said, self.details: details, self.explanations: explanations}
        checkpoint = self.services.catalogue.checkpoint(run[1].settings.checkpoint)
        shown[self.quick] = quick_links(run[1].settings, checkpoint, language)
        return shown | dict(zip(self.plots, plots, strict=True)), run

    def wire_measure(self, event, form: RunControls, language: gr.Radio) -> gr.events.Dependency:
        """Measure the speed after an event that shows another checkpoint; return the event that then shows the time.

        The time is for the settings at that moment: measuring takes a while, and visitors don't wait for it.
        """
        chosen = form.controls["checkpoint"]

        def measure(sent: Sent) -> Shown:
            """Measure how fast the checkpoint on the page is here, or show why it cannot be used."""
            checkpoint = self.services.checkpoint(sent[chosen])
            if checkpoint is None:
                values = {"checkpoint": sent[chosen]}
                return {self.plan: self.plan_line(known_language(sent[language]), values)}
            self.services.latency.measure(checkpoint.name, self.services.catalogue.quick_pipeline(checkpoint.name))
            return UNCHANGED

        def tell_time(sent: Sent) -> Shown:
            """Return what the settings will do, now with the time that it takes."""
            return {self.plan: self.plan_line(known_language(sent[language]), form.values(sent))}

        how = {"trigger_mode": "always_last", "preprocess": False}
        measured = event.then(measure, {chosen, language}, {self.plan}, **how, **NETWORK_EVENT)
        return measured.then(tell_time, {language} | form.inputs, {self.plan}, **how, **PRIVATE)

    def plan_line(self, language: str, values: dict) -> str:
        """Return the line that says what the settings will do, or what is wrong with them."""
        return self._planned(language, values)[1]

    def _planned(self, language: str, values: dict) -> "tuple[tuple[DDPMLabPipeline, Plan] | None, str]":
        if not self.services.catalogue.names():
            return None, ""
        try:
            pipeline, plan = plan_run(self.services, values)
        except ValueError as error:
            return None, plan_line(explain(error, language), is_error=True)
        seconds = self.services.latency.expected_seconds(plan.settings.checkpoint, plan)
        return (pipeline, plan), plan_line(
            sentences.plan_summary(plan, language, seconds), key=sentences.pictures_key(plan), mark=self._mark(plan)
        )

    def _mark(self, plan: "Plan") -> Mark:
        """Mark the tab with the run; without settings, its address opens the defaults of the default checkpoint."""
        home = self.services.checkpoint(self.services.catalogue.default())
        usual = home and {"checkpoint": home.name} | defaults(home, self.services.options)
        is_home = bool(usual) and plan.settings == settings_of(usual, home, self.services.options)
        return Mark.of("generate", query_of(plan.settings), is_home)


def _captions(language: str) -> list[str]:
    """Return the caption below each plot."""
    names = ("amplitudes", "betas", "levels")
    return [f'<p class="note">{escape(say(language, f"plots.{name}"))}</p>' for name in names]
