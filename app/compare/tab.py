"""The Compare tab: two runs side by side from the same initial noise."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import gradio as gr

from app.compare.links import SIDES, comparison_link, linked_runs
from app.compare.presets import DEFAULT_PRESET, OWN, PRESETS, matching_preset, preset_settings, presets_of
from app.controls.panel import OF_BOTH, START_VALUES, RunControls
from app.controls.values import controls_of, defaults, plan_run
from app.server.jobs import JobEvents, QueuedJob
from app.server.services import Services
from app.server.sessions import Drawn
from app.texts import DEFAULT, known_language, say
from app.texts.messages import explain, explain_in_each
from app.ui.events import PRIVATE, UNCHANGED, Component, Sent, Shown, on_choice
from app.ui.html import broken_link, idle_line, plan_line
from app.ui.lazy_import import lazy_import
from app.ui.links import page_address
from app.ui.progress import Progress
from diffusion.errors import PartError

if TYPE_CHECKING:
    from app.compare.run import ComparisonView
    from diffusion.settings import SamplingSettings

comparisons, plots = lazy_import("app.compare.run"), lazy_import("app.compare.plots")
render = lazy_import("app.compare.render")

NUM_IMAGES = 4


class CompareTab:
    """The tab's components and handlers. Each run has controls of its own; seed and count are shared."""

    def __init__(self, services: Services, language: gr.Radio):
        self.services = services
        self.language = language
        self.drawn: Drawn[Component] = Drawn()
        self._lay_out()
        self._wire()

    # Layout ----------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.preset = gr.Dropdown(
            [(say(DEFAULT, f"presets.{name}.title"), name) for name in PRESETS],
            value=DEFAULT_PRESET,
            label=say(DEFAULT, "compare.preset"),
            filterable=False,
        )
        self.hint = gr.HTML(apply_default_css=False)
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
        self.plan = gr.HTML(apply_default_css=False)
        self.progress = gr.HTML(apply_default_css=False, elem_id="comparison-progress")
        self.strips = gr.HTML(apply_default_css=False, elem_id="comparison")
        with gr.Row(elem_classes="outcome"):
            with gr.Column(min_width=300):
                self.outcome = gr.HTML(apply_default_css=False)
            with gr.Column(min_width=300, elem_classes="plot"):
                self.plot = gr.Plot(show_label=False, container=False, visible=False)
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
        return {self.language, self.preset} | self.forms[0].inputs | self.forms[1].inputs

    @property
    def told(self) -> set[Component]:
        """The outputs of `tell`, which every change updates."""
        return {self.preset, self.hint, self.plan, self.link}

    @property
    def worded(self) -> set[Component]:
        """The outputs of `rewrite`."""
        own = {*self.sides, self.start, self.stop, self.plot} | self.told
        return own | self.forms[0].worded | self.forms[1].worded

    @property
    def shown(self) -> set[Component]:
        """The components that show a comparison."""
        return {self.progress, self.strips, self.outcome, self.plot}

    @property
    def whole(self) -> set[Component]:
        """The outputs of `open`."""
        return self.worded | self.shown

    def _wire(self) -> None:
        raw = {"preprocess": False, **PRIVATE}
        on_choice(self.preset, self.choose_preset, self.inputs, self.whole)
        for side, form in enumerate(self.forms):
            told = form.adapted | self.told
            chosen = on_choice(form.controls["checkpoint"], self._choose_checkpoint(side), self.inputs, form.worded)
            chosen.then(self._adapt(side), self.inputs, told, trigger_mode="always_last", **raw)
            form.reset.click(self._reset(side), self.inputs, told, **raw)
            form.on_edit(self._adapt(side), self.inputs, told, **raw)
        events = JobEvents(self.services, "compare", [self.start], self.stop, self.progress, self._language)
        shown = {self.strips, self.outcome, self.plot}
        run = events.wire(self.start, self.plan_job, self.inputs, shown, self.strips)
        run.success(self.redraw, {self.language}, {self.plot}, **raw)  # in case the language was changed meanwhile

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

    def open(self, language: str, query: str = "") -> Shown:
        """Return the whole tab: as a link says, or with the default preset on the default checkpoint."""
        try:
            values = linked_runs(self.services, query, self._count())
        except ValueError as error:
            return self.open(language) | {self.strips: broken_link(explain_in_each(error))}
        return self._rested(language, values or [{"checkpoint": None} | START_VALUES] * 2)

    def _count(self) -> int:
        return min(NUM_IMAGES, self.services.options.max_images)

    def _rested(self, language: str, values: list[dict], address: str = "") -> Shown:
        return self.rewrite(language, values, with_values=True, address=address) | {
            self.progress: idle_line("ready"),
            self.strips: "",
            self.outcome: "",
            self.plot: gr.update(visible=False),
        }

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
        return shown | self.tell(language, values, address)

    def tell(self, language: str, values: list[dict], address: str = "") -> Shown:
        """Return the preset that both runs are, what they will do or what is wrong with them, and the link to them."""
        if not self.services.catalogue.names():
            return self._preset_told(language, values, None) | {self.plan: "", self.link: ""}
        try:
            (a, plan_a), (b, plan_b) = self.plans(values)
        except ValueError as error:
            wrong = plan_line(explain(error, language), is_error=True)
            return self._preset_told(language, values, None) | {self.plan: wrong}
        plans = plan_a, plan_b
        told = self._preset_told(language, values, [plan.settings for plan in plans])
        if address:
            told[self.link] = comparison_link(plans, address)
        try:
            comparisons.check_comparison(self.services, a, plan_a, b, plan_b)
        except ValueError as error:
            return told | {self.plan: plan_line(explain(error, language), is_error=True)}
        seconds = tuple(self.services.latency.expected_seconds(plan.settings.checkpoint, plan) for plan in plans)
        return told | {self.plan: plan_line(render.plan_lines(plans, seconds, language))}

    def _preset_told(self, language: str, values: list[dict], settings: "Sequence[SamplingSettings] | None") -> Shown:
        """Return updates of the list of presets (the one that both runs' settings are, if any) and of its hint."""
        checkpoint = self.services.checkpoint(values[0]["checkpoint"])
        preset = settings and checkpoint and matching_preset(settings, checkpoint)
        # Own settings are no choice: a visitor gets there by changing a setting
        names = presets_of(checkpoint) if preset else [*presets_of(checkpoint), OWN]
        choices = [(say(language, f"presets.{name}.title"), name) for name in names]
        label = say(language, "compare.preset")
        return {
            self.preset: gr.update(choices=choices, value=preset or OWN, label=label),
            self.hint: render.preset_words(preset, language) if preset else "",
        }

    def choose_preset(self, request: gr.Request, sent: Sent) -> Shown:
        """Show another preset: its settings on the checkpoint of the first run, with the seed and count as they are."""
        language, preset, values = self._language(sent), sent[self.preset], self.values(sent)
        checkpoint = self.services.checkpoint(values[0]["checkpoint"])
        if checkpoint is None or preset not in presets_of(checkpoint):
            return UNCHANGED
        settings = preset_settings(preset, checkpoint, 0, self._count())
        kept = {name: values[0][name] for name in OF_BOTH}
        self.drawn.drop(request.session_hash)
        return self._rested(language, [controls_of(s, checkpoint) | kept for s in settings], page_address(request))

    def _choose_checkpoint(self, side: int):
        def choose(sent: Sent) -> Shown:
            """Show another checkpoint for one run, with its limits and defaults.

            Shared controls, sampler, spacing and a possible number of steps stay. Their values are not sent back: on a
            slow machine that would undo what the visitor has changed meanwhile.
            """
            form, of_run = self.forms[side], self.values(sent)[side]
            checkpoint = self.services.checkpoint(of_run["checkpoint"])
            if checkpoint is None:
                return UNCHANGED
            kept = {*OF_BOTH, "sampler", "timestep_spacing"}
            steps = of_run["num_inference_steps"]
            if isinstance(steps, int) and steps <= checkpoint.num_train_timesteps:
                kept.add("num_inference_steps")
            fresh = {
                name: value for name, value in defaults(checkpoint, self.services.options).items() if name not in kept
            }
            return form.rewrite(self._language(sent), of_run | fresh, fresh)

        return choose

    def _adapt(self, side: int):
        def adapt(request: gr.Request, sent: Sent) -> Shown:
            """Update one run's controls and the plan after a change."""
            values, language = self.values(sent), self._language(sent)
            return self.forms[side].adapt(values[side]) | self.tell(language, values, page_address(request))

        return adapt

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
        return self.drawn.again(request.session_hash, self._language(sent)) or UNCHANGED

    def plan_job(self, request: gr.Request, sent: Sent) -> "QueuedJob[ComparisonView]":
        """Plan the job of the button Compare: both runs side by side."""
        language = self._language(sent)
        (a, plan_a), (b, plan_b) = self.plans(self.values(sent))
        comparisons.check_comparison(self.services, a, plan_a, b, plan_b)
        checkpoints = tuple(self.services.catalogue.checkpoint(p.settings.checkpoint) for p in (plan_a, plan_b))
        made_by = (a.denoiser(plan_a).description, b.denoiser(plan_b).description)

        def show(progress: "Progress[ComparisonView]") -> Shown:
            view = progress.content
            shown: Shown = {self.strips: render.strips_of(view)}
            if progress.state == "running":
                self.drawn.drop(request.session_hash)
                return shown | {self.outcome: "", self.plot: gr.update(visible=False)}

            def plot(language: str) -> Shown:
                chart = plots.divergence(view.divergences, language).plot
                return {self.plot: gr.update(value=chart, visible=bool(view.divergences))}

            shown[self.outcome] = render.outcome(view, (plan_a, plan_b), checkpoints, made_by)
            return shown | self.drawn.draw(request.session_hash, language, plot)

        seconds = self.services.expected_seconds(plan_a, plan_b)
        return QueuedJob(language, lambda: comparisons.comparison_steps(a, plan_a, b, plan_b), show, seconds)
