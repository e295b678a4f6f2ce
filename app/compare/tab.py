"""The Compare tab: two runs side by side from the same initial noise."""

from typing import TYPE_CHECKING

import gradio as gr

from app.compare.links import SIDES, comparison_link, comparison_mark, linked_runs
from app.compare.outcome import Outcome
from app.compare.preset_list import PresetList
from app.compare.presets import matching_preset, preset_settings, presets_of
from app.compare.preview import Preview
from app.compare.received import received
from app.controls.panel import OF_BOTH, START_VALUES, RunControls
from app.controls.values import changes, controls_of, kept_values, plan_run
from app.server.jobs import JobEvents, QueuedJob
from app.server.services import Services
from app.texts import DEFAULT, known_language, say
from app.texts.messages import explain_in_each
from app.ui.events import PRIVATE, UNCHANGED, Component, Sent, Shown, on_choice, on_settled
from app.ui.html import broken_line
from app.ui.lazy_import import lazy_import
from app.ui.links import page_address
from diffusion.errors import PartError

if TYPE_CHECKING:
    from app.compare.outcome import MadeComparison
    from app.compare.run import ComparisonView
    from diffusion.settings import SamplingSettings

comparisons, render = lazy_import("app.compare.run"), lazy_import("app.compare.render")

NUM_IMAGES = 4


class CompareTab:
    """The tab's components and handlers. Each run has controls of its own; seed and count are shared."""

    def __init__(self, services: Services, language: gr.Radio):
        self.services = services
        self.language = language
        self._lay_out()
        self._wire()

    # Layout ----------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.presets = PresetList()
        a = RunControls(self.services)
        with gr.Row(elem_classes="seeds"):
            a.lay_out_seed()
            a.lay_out_count()
        self.sides: list[gr.Accordion] = []
        with gr.Row(elem_classes="two-runs"):
            with gr.Column(min_width=300), self._side("a"):
                self._lay_out_run(a)
            b = RunControls(self.services, {name: a.own[name] for name in OF_BOTH})
            with gr.Column(min_width=300), self._side("b"):
                self._lay_out_run(b)
        self.forms = (a, b)
        with gr.Row(elem_classes="go"):
            self.start = gr.Button(say(DEFAULT, "buttons.compare"), variant="primary", scale=3)
            self.stop = gr.Button(say(DEFAULT, "buttons.stop"), interactive=False, scale=1)
        self.preview = Preview(self.services)
        self.outcome = Outcome(self.services)
        self.link = gr.HTML(apply_default_css=False)

    def _side(self, side: str) -> gr.Accordion:
        self.sides.append(gr.Accordion(say(DEFAULT, f"compare.run_{side}"), open=False))
        return self.sides[-1]

    @staticmethod
    def _lay_out_run(form: RunControls) -> None:
        form.lay_out_basics()
        form.lay_out_guidance()
        form.lay_out_schedule()
        form.lay_out_sampler()

    # Events ----------------------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> set[Component]:
        """The inputs of the handlers: language, preset, and the controls of both runs."""
        return {self.language, self.presets.chosen} | self.forms[0].inputs | self.forms[1].inputs

    @property
    def told(self) -> set[Component]:
        """The outputs of `tell`, which every change updates."""
        return {self.link} | self.preview.told | self.presets.shown

    @property
    def worded(self) -> set[Component]:
        """The outputs of `rewrite`."""
        own = {*self.sides, self.start, self.stop, self.preview.behind, self.outcome.plot} | self.told
        return own | self.forms[0].worded | self.forms[1].worded

    @property
    def whole(self) -> set[Component]:
        """The outputs of `open`."""
        return self.worded | self.outcome.whole

    def _wire(self) -> None:
        raw = {"preprocess": False, **PRIVATE}
        adapted = self.told.union(*(form.adapted for form in self.forms))
        chosen = [on_choice(self.presets.chosen, self.choose_preset, self.inputs, self.whole)]
        for side, form in enumerate(self.forms):
            choose = self._choose_checkpoint(side)
            chosen.append(on_choice(form.controls["checkpoint"], choose, self.inputs, form.worded))
            form.reset.click(self._reset(side), self.inputs, form.adapted | self.told, **raw)
        on_settled([edit for form in self.forms for edit in form.edits], self.adapt, self.inputs, adapted, chosen)
        outcome = self.outcome
        events = JobEvents(self.services, "compare", [self.start], self.stop, outcome.progress, self._language)
        run = events.wire(self.start, self.plan_job, self.inputs, outcome.running, outcome.result)
        run.success(self.redraw, {self.language}, {outcome.plot}, **raw)  # in case the language was changed meanwhile

    # Handlers --------------------------------------------------------------------------------------------------------

    def _language(self, sent: Sent) -> str:
        return known_language(sent[self.language])

    def values(self, sent: Sent) -> list[dict]:
        """Return the values of both runs' controls."""
        return [form.values(sent) for form in self.forms]

    def plans(self, values: list[dict]) -> list:
        """Return (pipeline, plan) of both runs. Raises PartError, a ValueError that names the run and the problem.

        Whether they fit together is not checked here.
        """
        found = []
        for side, of_run in zip(render.NAMES, values, strict=True):
            try:
                found.append(plan_run(self.services, of_run))
            except ValueError as error:
                raise PartError(side, error) from None
        return found

    def open(
        self, language: str, query: str = "", address: str = "", request: gr.Request | None = None,
        name: str | None = None, is_again: bool = False,
    ) -> Shown:  # fmt: skip
        """Return the whole tab: as a link says, or with the default preset on a checkpoint, by name.

        request: of the visitor, whose comparison of these runs is shown if there was one. is_again: the page was loaded
        again; then the visitor's newest comparison is shown.
        """
        try:
            values = linked_runs(self.services, query, self._count(), name)
        except ValueError as error:
            return self.open(language, address=address) | {self.outcome.strips: broken_line(explain_in_each(error))}
        values = values or [{"checkpoint": None} | START_VALUES] * 2
        shown = self._rested(language, values, address, request)
        made = self._made(request, values) or (self.outcome.newest(request) if is_again else None)
        return shown | (self.outcome.put(request, language, made) if made else {})

    def _made(self, request: gr.Request | None, values: list[dict]) -> "MadeComparison | None":
        try:
            return self.outcome.made(request, [plan for _, plan in self.plans(values)])
        except ValueError:  # what is wrong is said elsewhere
            return None

    def receive(
        self, request: gr.Request, language: str, values: list[dict], side: int, settings: "SamplingSettings"
    ) -> Shown:
        """Return the tab with these settings as one of its runs; see `received`. Raises ValueError if it cannot."""
        runs = received(self.services, values, side, settings, self._preset(values))
        return self._rested(language, runs, page_address(request), request)

    def _preset(self, values: list[dict]) -> str | None:
        """Return the preset that the runs on the page are, if any."""
        try:
            runs = [plan.settings for _, plan in self.plans(values)]
        except ValueError:
            return None
        return matching_preset(runs, self.services.catalogue.checkpoint(runs[0].checkpoint))

    def follow(self, request: gr.Request, sent: Sent, names: dict[str, str]) -> Shown:
        """Show other checkpoints: their names by side, "a" and "b"."""
        language, values = self._language(sent), self.values(sent)
        shown: Shown = {}
        for side, name in enumerate(map(names.get, SIDES)):
            if checkpoint := name and self.services.checkpoint(name):
                before, values[side] = values[side], kept_values(self.services, values[side], checkpoint)
                shown |= self.forms[side].rewrite(language, values[side], changes(before, values[side]))
        return shown | self.tell(language, values, page_address(request))

    def _count(self) -> int:
        return min(NUM_IMAGES, self.services.options.max_images)

    def _rested(self, language: str, values: list[dict], address: str = "", request: gr.Request | None = None) -> Shown:
        shown = self.rewrite(language, values, with_values=True, address=address)
        return shown | self.outcome.rest(request)

    def rewrite(self, language: str, values: list[dict], with_values: bool = False, address: str = "") -> Shown:
        """Return all texts of the tab in a language; with_values also sets the controls to the given values."""
        shown: Shown = {}
        for form, of_run in zip(self.forms, values, strict=True):
            shown |= form.rewrite(language, of_run, with_values)
        for side, group in zip(SIDES, self.sides, strict=True):
            shown[group] = gr.update(label=say(language, f"compare.run_{side}"))
        shown |= {
            self.start: gr.update(value=say(language, "buttons.compare")),
            self.stop: gr.update(value=say(language, "buttons.stop")),
        }
        return shown | self.preview.rewrite(language) | self.tell(language, values, address)

    def tell(self, language: str, values: list[dict], address: str = "") -> Shown:
        """Return the preset that both runs are, what they will do or what is wrong with them, and the link to them."""
        checkpoint = self.services.checkpoint(values[0]["checkpoint"])
        untold, _ = self.presets.tell(language, checkpoint)
        if not self.services.catalogue.names():
            return untold | self.preview.clear() | {self.link: ""}
        try:
            (a, plan_a), (b, plan_b) = self.plans(values)
        except ValueError as error:
            return untold | self.preview.refuse(language, error)
        plans = plan_a, plan_b
        checkpoints = tuple(self.services.catalogue.checkpoint(plan.settings.checkpoint) for plan in plans)
        titles = render.titles_line(plans, checkpoints, language)
        told, preset = self.presets.tell(language, checkpoint, [plan.settings for plan in plans], titles)
        mark = comparison_mark(self.services, plans, preset, self._count())
        if address:
            told[self.link] = comparison_link(plans, address)
        try:
            comparisons.check_comparison(self.services, a, plan_a, b, plan_b)
        except ValueError as error:
            return told | self.preview.refuse(language, error, mark)
        return told | self.preview.tell(language, plans, mark)

    def choose_preset(self, request: gr.Request, sent: Sent) -> Shown:
        """Show another preset: its settings on the checkpoint of the first run, with the seed and count as they are."""
        language, preset, values = self._language(sent), sent[self.presets.chosen], self.values(sent)
        checkpoint = self.services.checkpoint(values[0]["checkpoint"])
        if checkpoint is None or preset not in presets_of(checkpoint):
            return UNCHANGED
        settings = preset_settings(preset, checkpoint, 0, self._count())
        kept = {name: values[0][name] for name in OF_BOTH}
        return self._rested(
            language, [controls_of(s, checkpoint) | kept for s in settings], page_address(request), request
        )

    def _choose_checkpoint(self, side: int):
        def choose(sent: Sent) -> Shown:
            """Show another checkpoint for one run; the settings stay as far as it can run with them.

            Values that stay are not sent back: on a slow machine that would undo what a visitor has changed meanwhile.
            """
            form, of_run = self.forms[side], self.values(sent)[side]
            checkpoint = self.services.checkpoint(of_run["checkpoint"])
            if checkpoint is None:
                return UNCHANGED
            kept = kept_values(self.services, of_run, checkpoint)
            return form.rewrite(self._language(sent), kept, changes(of_run, kept))

        return choose

    def adapt(self, request: gr.Request, sent: Sent) -> Shown:
        """Update both runs' controls and the plan after a change."""
        values, shown = self.values(sent), {}
        for form, of_run in zip(self.forms, values, strict=True):
            shown |= form.adapt(of_run)
        return shown | self.tell(self._language(sent), values, page_address(request))

    def _reset(self, side: int):
        def reset(request: gr.Request, sent: Sent) -> Shown:
            """Set one run's noise schedule back to the trained one."""
            values, language = self.values(sent), self._language(sent)
            trained = self.forms[side].trained(values[side])
            values[side] = values[side] | trained
            return self.forms[side].adapt(values[side], trained) | self.tell(language, values, page_address(request))

        return reset

    def redraw(self, request: gr.Request, sent: Sent) -> Shown:
        """Draw the plot again if it is in another language than the page."""
        return self.outcome.redraw(request, self._language(sent)) or UNCHANGED

    def plan_job(self, request: gr.Request, sent: Sent) -> "QueuedJob[ComparisonView]":
        """Plan the job of the button Compare: both runs side by side."""
        language = self._language(sent)
        (a, plan_a), (b, plan_b) = self.plans(self.values(sent))
        comparisons.check_comparison(self.services, a, plan_a, b, plan_b)
        made_by = (a.denoiser(plan_a).description, b.denoiser(plan_b).description)
        show = self.outcome.shows(request, language, (plan_a, plan_b), made_by)
        seconds = self.services.expected_seconds(plan_a, plan_b)
        return QueuedJob(language, lambda: comparisons.comparison_steps(a, plan_a, b, plan_b), show, seconds)
