"""The Explore tab: a grid of runs over up to three settings, and quality against network calls."""

from contextlib import suppress
from typing import TYPE_CHECKING

import gradio as gr

from app.controls.panel import RunControls
from app.controls.values import changes, kept_values, linked_values
from app.explore.axes_panel import OWN_GRID, ExploreControls
from app.explore.frontier_panel import FrontierPanel
from app.explore.grid_panel import GridPanel
from app.explore.grids import AXES, DEFAULT_PRESET, presets_of
from app.explore.jobs import ExploreJobs
from app.explore.run import Known, Results
from app.server.jobs import JobEvents, QueuedJob
from app.server.services import Services
from app.texts import DEFAULT, known_language, say
from app.texts.messages import explain, explain_in_each
from app.ui.events import PRIVATE, UNCHANGED, Component, Sent, Shown, on_choice, on_settled
from app.ui.html import broken_line, idle_line, plan_line
from app.ui.lazy_import import lazy_import
from app.ui.progress import Progress

if TYPE_CHECKING:
    from diffusion.settings import SamplingSettings

explore_views = lazy_import("app.explore.render")


class ExploreTab:
    """The tab's components and handlers. axes: Explore's own controls; form: the run settings that all cells share."""

    def __init__(self, services: Services, language: gr.Radio):
        self.services = services
        self.language = language
        self.jobs = ExploreJobs(services)
        self.axes = ExploreControls(services)
        self.form = RunControls(services)
        self._lay_out()
        self._wire()

    # Layout ----------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.axes.lay_out_preset()
        self.axes.lay_out_axes()
        self.base = gr.Accordion(say(DEFAULT, "explore.base"), open=False)
        with self.base:
            self.form.lay_out_basics()
            with gr.Row(elem_classes="seeds"):
                self.form.lay_out_seed()
                self.form.lay_out_count()
            self.form.lay_out_guidance()
            self.form.lay_out_schedule()
            self.form.lay_out_sampler()
        with gr.Row(elem_classes="go"):
            self.start = gr.Button(say(DEFAULT, "buttons.explore"), variant="primary", scale=3)
            self.stop = gr.Button(say(DEFAULT, "buttons.stop"), interactive=False, scale=1)
        self.plan = gr.HTML(apply_default_css=False)
        self.progress = gr.HTML(apply_default_css=False, elem_id="grid-progress")
        with gr.Row(elem_classes="exploring"):
            with gr.Column(scale=5, min_width=300):
                self.grid = GridPanel(self.services)
            with gr.Column(scale=3, min_width=300, elem_classes="frontier"):
                self.frontier = FrontierPanel(self.axes)
        self.link = gr.HTML(apply_default_css=False)

    # Events ----------------------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> set[Component]:
        """The inputs of every handler: language, own controls, and those of the run."""
        return {self.language, *self.axes.own.values()} | self.form.inputs

    @property
    def told(self) -> set[Component]:
        """The outputs of `tell`, which every change updates."""
        return {self.axes.own["preset"], self.axes.hint} | self.planned

    @property
    def planned(self) -> set[Component]:
        """The outputs of `_plans`: what both buttons would do."""
        return {self.plan, self.frontier.plan, self.link} | self.grid.shown

    @property
    def worded(self) -> set[Component]:
        """The outputs of `rewrite`."""
        own = {self.base, self.start, self.stop} | self.frontier.worded
        return own | self.axes.worded | self.form.worded | self.told

    @property
    def whole(self) -> set[Component]:
        """The outputs of `open`."""
        return self.worded | {self.progress} | self.frontier.measured

    def _wire(self) -> None:
        raw = {"preprocess": False, **PRIVATE}
        adapted = self.form.adapted | self.told
        chosen = [
            on_choice(self.axes.own["preset"], self.choose_preset, self.inputs, self.whole),
            on_choice(self.form.controls["checkpoint"], self.choose_checkpoint, self.inputs, self.worded),
        ]
        for axis in AXES:
            told = {self.axes.own[f"{axis}_values"], self.axes.picks[axis]} | self.told
            chosen.append(on_choice(self.axes.own[axis], self._choose_field(axis), self.inputs, told))
        self.axes.wire_picks(self.inputs, self.form, self._language)
        on_settled([*self.axes.texts, *self.form.edits], self.adapt, self.inputs, adapted, chosen)
        self.form.reset.click(self.reset, self.inputs, adapted, **raw)

        starts = [self.start, self.frontier.button]
        events = JobEvents(self.services, "explore", starts, self.stop, self.progress, self._language)
        for button, plan, shown, result in (
            (self.start, self.plan_grid, self.grid.shown, self.grid.cells),
            (self.frontier.button, self.plan_frontier, self.frontier.measured, self.frontier.result),
        ):
            run = events.wire(button, plan, self.inputs, shown, result)
            for ended in (run.success, run.failure):  # results known by now need not run again
                ended(self.replan, self.inputs, self.planned | self.frontier.worded, **raw)

    def wire_measured(self, event) -> None:
        """Update the plans after `event`, from which on the seconds per run are known."""
        event.then(self.adapt, self.inputs, self.form.adapted | self.told, preprocess=False, **PRIVATE)

    # Values and jobs -------------------------------------------------------------------------------------------------

    def _language(self, sent: Sent) -> str:
        return known_language(sent[self.language])

    def values(self, sent: Sent) -> tuple[dict, dict]:  # of the own controls, and of the run's controls
        return self.axes.values(sent), self.form.values(sent)

    # Opening and changing --------------------------------------------------------------------------------------------

    def open(self, language: str, query: str = "", request: gr.Request | None = None, name: str | None = None) -> Shown:
        """Return the whole tab: as a link describes it, or the default preset on a checkpoint, by name.

        request: of the visitor, whose results are shown.
        """
        try:
            if linked := self.axes.linked(query):
                self.jobs.to_run(self.jobs.grid(*linked).jobs, Known())
                self.jobs.frontier(*linked)
        except ValueError as error:
            return self.open(language) | {self.progress: broken_line(explain_in_each(error))}
        own, values = linked or self.axes.of_preset(DEFAULT_PRESET, name or self.services.catalogue.default())
        return self._rested(language, own, values, request)

    def receive(
        self, request: gr.Request, language: str, own: dict, values: dict, settings: "SamplingSettings"
    ) -> Shown:
        """Return the tab with these settings in all cells, but for the axes and the number of pictures.

        Raises ValueError if they cannot run.
        """
        sent = linked_values(self.services, settings)
        return self._rested(language, own, sent | {"num_images": values["num_images"]}, request)

    def follow(self, request: gr.Request, sent: Sent, name: str) -> Shown:
        """Show another checkpoint, by name; the settings stay as far as it can run with them."""
        language, (own, before) = self._language(sent), self.values(sent)
        checkpoint = self.services.checkpoint(name)
        if checkpoint is None:
            return UNCHANGED
        values = kept_values(self.services, before, checkpoint)
        if own["preset"] not in (OWN_GRID, *presets_of(checkpoint)):
            own = self.axes.of_preset(DEFAULT_PRESET, checkpoint.name)[0]
        shown = self.axes.rewrite(language, own, checkpoint, with_values=True)
        shown |= self.form.rewrite(language, values, changes(before, values))
        return shown | self.tell(language, own, values, request)

    def _rested(self, language: str, own: dict, values: dict, request: gr.Request | None = None) -> Shown:
        shown = self.rewrite(language, own, values, request, with_values=True)
        return shown | {self.progress: idle_line("ready")} | self._measured(language, own, values, request)

    def _measured(self, language: str, own: dict, values: dict, request: gr.Request | None) -> Shown:
        """Return the visitor's frontier if it was measured, else an empty one."""
        with suppress(ValueError):  # what is wrong is said elsewhere
            frontier = self.jobs.frontier(own, values)
            return self.frontier.known(request, language, frontier, self.jobs.known(request).of(frontier.jobs))
        return self.frontier.empty(request)

    def rewrite(
        self, language: str, own: dict, values: dict, request: gr.Request | None = None, with_values: bool = False
    ) -> Shown:
        """Return the tab with all words in `language`; with_values also sets the controls to `own` and `values`."""
        shown = self.axes.rewrite(language, own, self.services.checkpoint(values["checkpoint"]), with_values)
        shown |= self.form.rewrite(language, values, with_values)
        shown |= {
            self.base: gr.update(label=say(language, "explore.base")),
            self.start: gr.update(value=say(language, "buttons.explore")),
            self.stop: gr.update(value=say(language, "buttons.stop")),
        }
        return shown | self.frontier.rewrite(language, request) | self.tell(language, own, values, request)

    def tell(self, language: str, own: dict, values: dict, request: gr.Request | None = None) -> Shown:
        """Return the matching preset, what both buttons would do or what is wrong, the grid as far as known, a link."""
        preset = self.axes.preset_told(language, own, values)
        if not self.services.catalogue.names():
            return dict.fromkeys(self.told, "") | preset
        return preset | self._plans(language, own, values, request)

    def _plans(self, language: str, own: dict, values: dict, request: gr.Request | None) -> Shown:
        """Return what both buttons would do, the grid as far as known unless it is refused, and its link."""
        known, mark = self.jobs.known(request), None
        shown: Shown = {self.link: ""} if request is None else {}
        try:
            grid = self.jobs.grid(own, values)
            mark = self.axes.mark(own, grid.base)
            if request is not None:
                shown[self.link] = self.axes.link(request, own, grid.base)
            to_run = self.jobs.to_run(grid.jobs, known)
            sentence = explore_views.plan_sentence(grid, to_run, self.jobs.expected_seconds(to_run), language)
            plan = plan_line(sentence, mark=mark)
            shown |= self.grid.show(grid, known.of(grid.jobs))
        except ValueError as error:
            plan = plan_line(explain(error, language), is_error=True, mark=mark)
        try:
            frontier = self.jobs.frontier(own, values)
            to_run = self.jobs.to_run(frontier.jobs, known)
            sentence = explore_views.frontier_sentence(frontier, to_run, self.jobs.expected_seconds(to_run), language)
            frontier_plan = plan_line(sentence)
        except ValueError as error:
            frontier_plan = plan_line(explain(error, language), is_error=True)
        return shown | {self.plan: plan, self.frontier.plan: frontier_plan}

    def choose_preset(self, request: gr.Request, sent: Sent) -> Shown:
        """Show another preset on the same checkpoint."""
        own, values = self.values(sent)
        checkpoint = self.services.checkpoint(values["checkpoint"])
        if checkpoint is None or own["preset"] not in presets_of(checkpoint):
            return UNCHANGED
        of_preset = self.axes.of_preset(own["preset"], checkpoint.name)
        return self._rested(self._language(sent), *of_preset, request)

    def choose_checkpoint(self, request: gr.Request, sent: Sent) -> Shown:
        """Show the same grid on another checkpoint."""
        return self.follow(request, sent, self.form.values(sent)["checkpoint"])

    def _choose_field(self, axis: str):
        def choose(request: gr.Request, sent: Sent) -> Shown:
            """Show example values after another field was put on the axis."""
            language = self._language(sent)
            own, values = self.values(sent)
            checkpoint = self.services.checkpoint(values["checkpoint"])
            own = self.axes.with_field(own, axis, checkpoint)
            return self.axes.rewrite_axis(language, axis, own, checkpoint) | self.tell(language, own, values, request)

        return choose

    def adapt(self, request: gr.Request, sent: Sent) -> Shown:
        """Update controls and plans after a change."""
        own, values = self.values(sent)
        return self.form.adapt(values) | self.tell(self._language(sent), own, values, request)

    def reset(self, request: gr.Request, sent: Sent) -> Shown:
        """Set the noise schedule of all cells back to the trained one."""
        own, values = self.values(sent)
        trained = self.form.trained(values)
        values |= trained
        return self.form.adapt(values, trained) | self.tell(self._language(sent), own, values, request)

    # Running ---------------------------------------------------------------------------------------------------------

    def plan_grid(self, request: gr.Request, sent: Sent) -> QueuedJob[Results]:
        """Plan the job of the Explore button: the grid, cell by cell."""
        language, grid = self._language(sent), self.jobs.grid(*self.values(sent))

        def show(progress: Progress[Results]) -> Shown:
            found, current = progress.content.found, progress.content.current
            return self.grid.show(grid, found, current, with_files=progress.state != "running")

        return self.jobs.queued(request, language, grid.jobs, show)

    def plan_frontier(self, request: gr.Request, sent: Sent) -> QueuedJob[Results]:
        """Plan the job of the Measure button: the frontier, point by point."""
        language, frontier = self._language(sent), self.jobs.frontier(*self.values(sent))
        count = None

        def show(progress: Progress[Results]) -> Shown:
            nonlocal count
            before, count = count, len(progress.content.found)
            if before == count and progress.state == "running":
                return {}
            return self.frontier.shown(request, language, frontier, progress.content)

        return self.jobs.queued(request, language, frontier.jobs, show)

    def replan(self, request: gr.Request, sent: Sent) -> Shown:
        """Update what both buttons would do, after a job has ended."""
        language = self._language(sent)
        return self._plans(language, *self.values(sent), request) | self.frontier.rewrite(language, request)
