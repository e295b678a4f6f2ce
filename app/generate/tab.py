"""The Generate tab: choose a checkpoint and the settings of a run, and watch it."""

from collections.abc import Collection

import gradio as gr

from app.controls.panel import START_VALUES, RunControls
from app.controls.values import changes, defaults, kept_values, linked_values, plan_run
from app.generate.preview import Preview
from app.generate.recipe_panel import RecipePanel, message
from app.generate.run import RunView, run_steps
from app.generate.stage import Stage
from app.server.jobs import JobEvents, QueuedJob
from app.server.services import Services
from app.texts import DEFAULT, known_language, say
from app.texts.messages import explain_in_each
from app.ui.events import PRIVATE, UNCHANGED, Component, Sent, Shown, failure, on_choice, on_settled
from app.ui.html import broken_link
from app.ui.lazy_import import lazy_import
from app.ui.links import page_address, settings_of_query
from app.ui.progress import Progress

views = lazy_import("app.generate.render")

DICE = "() => Math.floor(Math.random() * 1000000)"


class GenerateTab:
    """The tab's components and handlers. See RunControls for the values that the browser sends for the controls."""

    def __init__(self, services: Services, language: gr.Radio, remembered: gr.BrowserState):
        self.services = services
        self.language = language
        self.remembered = remembered
        self.form = RunControls(services)
        self.buttons: dict[str, gr.Button] = {}
        self.preview = Preview(services)
        self._button("animate", size="sm", visible=False, render=False)
        self.run = Stage(services, self.buttons["animate"])
        self._lay_out()
        self._wire()

    # Layout ----------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        with gr.Row(elem_id="workspace"):
            with gr.Column(scale=4, elem_id="controls"):
                self.form.lay_out_basics()
                with gr.Row(elem_id="seed-row"):
                    self.form.lay_out_seed()
                    self._button("dice", elem_id="dice")
                with gr.Row(elem_id="go"):
                    self._button("generate", variant="primary", scale=3)
                    self._button("stop", interactive=False, scale=1)
                with self.form.group("more"):
                    self.form.lay_out_count()
                    self.form.lay_out_guidance()
                self.form.lay_out_schedule()
                self.form.lay_out_sampler()
                with self.form.group("recipe"):
                    self.recipe = RecipePanel(self.services, self.remembered)
                self.recipe.lay_out_history()
            with gr.Column(scale=9, elem_id="show"):
                self.preview.lay_out_plan()
                self.run.lay_out()
        self.preview.lay_out_behind()

    def _button(self, name: str, **more) -> None:
        self.buttons[name] = gr.Button(say(DEFAULT, f"buttons.{name}"), **more)

    # Events ----------------------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> set[Component]:
        """The inputs of the handlers: the language and the controls."""
        return {self.language} | self.form.inputs

    @property
    def worded(self) -> set[Component]:
        """The components whose texts depend on language and checkpoint: the outputs of `rewrite`."""
        return self.form.worded | self.recipe.worded | {*self.buttons.values()} | self.preview.worded | self.told

    @property
    def told(self) -> set[Component]:
        """The components that show what a run will do, before any sampling: the outputs of `tell`."""
        return self.preview.told | {self.recipe.link, self.recipe.python}

    @property
    def whole(self) -> set[Component]:
        """The outputs of `open`."""
        return self.worded | self.run.whole

    def _wire(self) -> None:
        controls, buttons = self.form.controls, self.buttons
        raw = {"preprocess": False, **PRIVATE}
        self.wire_measure(on_choice(controls["checkpoint"], self.choose, self.inputs, self.whole))

        told = self.form.adapted | self.told
        on_settled(self.form.edits, self.adapt, self.inputs, told)
        self.form.reset.click(self.reset, self.inputs, told, **raw)
        buttons["dice"].click(None, None, controls["seed"], js=DICE, **PRIVATE)

        self._wire_jobs()
        how = {"preprocess": False, "api_visibility": "private", "concurrency_limit": 1}
        buttons["animate"].click(self.animate, {self.language}, {self.run.animation}, **how)
        self._wire_recipe(raw)

    def _wire_jobs(self) -> None:
        starts = [self.buttons["generate"], self.recipe.verify_button]
        stop, panel = self.buttons["stop"], self.recipe
        run = self.run
        events = JobEvents(self.services, "generate", starts, stop, run.progress, self._language)
        shown, remembered = {run.stage, run.film}, {panel.remembered, panel.history}
        how = {
            "cleared": {self.buttons["animate"]: gr.update(visible=False), run.film: "", run.animation: ""},
            "ended": {self.buttons["animate"]: gr.update(visible=True)},
        }
        inputs = self.inputs | {panel.remembered}
        events.wire(self.buttons["generate"], self.plan_run, inputs, shown | remembered, run.stage, **how)
        inputs = {self.language, panel.file}
        events.wire(panel.verify_button, self.plan_verification, inputs, shown | {panel.said}, panel.said, **how)

    def wire_measure(self, event) -> gr.events.Dependency:
        """Measure the speed after an event that shows another checkpoint; see Preview."""
        return self.preview.wire_measure(event, self.form, self.language)

    def _wire_recipe(self, raw: dict) -> None:
        panel = self.recipe
        restored = on_choice(panel.history, self.restore_link, {self.language, panel.history}, self.whole)
        # The dropdown is a menu that keeps no value: once the controls have changed, the same run can be chosen again
        restored.then(None, None, panel.history, js="() => null", **PRIVATE)
        said = {panel.said, panel.verify_button}
        panel.file.upload(self.restore_file, {self.language, panel.file}, self.whole | said, **raw)
        panel.file.clear(self.forget_file, None, said, **PRIVATE)

    # Handlers --------------------------------------------------------------------------------------------------------

    def open(
        self, language: str, query: str = "", address: str = "", request: gr.Request | None = None,
        name: str | None = None, is_again: bool = False,
    ) -> Shown:  # fmt: skip
        """Return the whole tab with a link's settings (query), or with the defaults of a checkpoint, by name.

        request, is_again: see `restored`.
        """
        catalogue = self.services.catalogue
        try:
            if settings := settings_of_query(query):
                return self.restored(language, linked_values(self.services, settings), address, request, is_again)
        except ValueError as error:
            self.run.clear(request)
            return self.open(language, address=address) | {self.run.stage: broken_link(explain_in_each(error))}
        name = catalogue.default() if name is None else name
        if checkpoint := self.services.checkpoint(name):
            values = {"checkpoint": name} | defaults(checkpoint, self.services.options)
            return self.restored(language, values, address, request, is_again)
        known = name in catalogue.names()
        sight = views.broken(explain_in_each(catalogue.error_of(name))) if known else views.empty(str(catalogue.folder))
        shown = self.rewrite(language, {"checkpoint": name} | START_VALUES, address, with_values=True)
        return shown | self.run.rest(language, sight)

    def rewrite(
        self, language: str, values: dict, address: str = "", with_values: bool | Collection[str] = False
    ) -> Shown:
        """Return all texts of the tab in a language; with_values: see RunControls.rewrite."""
        buttons = {one: gr.update(value=say(language, f"buttons.{name}")) for name, one in self.buttons.items()}
        controls = self.form.rewrite(language, values, with_values)
        words = self.preview.rewrite(language) | self.recipe.rewrite(language)
        return controls | buttons | words | self.tell(language, values, address)

    def restored(
        self, language: str, values: dict, address: str = "", request: gr.Request | None = None, is_again: bool = False,
        before: dict | None = None,
    ) -> Shown:  # fmt: skip
        """Return the whole tab with these values in its controls, and pictures of the visitor whose `request` it is.

        On the stage are the pictures of these settings if the visitor has made them, else those of a run that are there
        already. is_again: the page was loaded again; then those of the visitor's newest run are better than none.
        before: what the controls hold; only those that change are set, for a visitor may be at the others.
        """
        changed = True if before is None else changes(before, values)
        shown = self.rewrite(language, values, address, with_values=changed)
        if made := self.run.made(request, values) or (is_again and self.run.newest(request)):
            return shown | self.run.put(request, language, made)
        if self.run.has_run(request):
            return shown
        checkpoint = self.services.catalogue.checkpoint(values["checkpoint"])
        return shown | self.run.rest(language, views.opening(checkpoint))

    def restore_link(self, request: gr.Request, sent: Sent) -> Shown:
        """Restore an earlier run that was chosen from the history."""
        query = sent[self.recipe.history]
        return self.restore(request, self._language(sent), query) if isinstance(query, str) else UNCHANGED

    def restore(self, request: gr.Request, language: str, query: str) -> Shown:
        """Set the controls to a run's settings; the pictures that are on the stage stay until new ones come."""
        return self.open(language, query=query, address=page_address(request), request=request)

    def restore_file(self, request: gr.Request, sent: Sent) -> Shown:
        """Restore the settings of a saved picture that was dropped, or show why that is not possible."""
        language, file = self._language(sent), sent[self.recipe.file]
        try:
            values, said = self.recipe.read(file)
        except ValueError as error:
            noted = self.recipe.note_file(request, file, is_readable=False)
            return noted | {self.recipe.said: message(explain_in_each(error), is_good=False)}
        opened = self.restored(language, values, page_address(request), request)
        return opened | self.recipe.note_file(request, file) | {self.recipe.said: said}

    def forget_file(self, request: gr.Request) -> Shown:
        """After the file was taken away, there is nothing to verify."""
        return self.recipe.note_file(request, None) | {self.recipe.said: ""}

    def tell(self, language: str, values: dict, address: str = "") -> Shown:
        """Return what the settings will do, or what is wrong with them. If they cannot run, all else stays unchanged.

        address: of the page, for the link to these settings.
        """
        shown, run = self.preview.tell(language, values)
        return shown if run is None else shown | self.recipe.describe(address, language, *run)

    def choose(self, request: gr.Request, sent: Sent) -> Shown:
        """Show another checkpoint, with its limits and pictures; the settings stay as far as it can run with them."""
        self.run.clear(request)
        return self.follow(request, sent, self.form.values(sent)["checkpoint"])

    def follow(self, request: gr.Request, sent: Sent, name: str) -> Shown:
        """Show another checkpoint, by name; pictures of a run stay on the stage."""
        language, before, address = self._language(sent), self.form.values(sent), page_address(request)
        checkpoint = self.services.checkpoint(name)
        if checkpoint is None:
            return self.open(language, address=address, name=name)
        return self.restored(language, kept_values(self.services, before, checkpoint), address, request, before=before)

    def adapt(self, request: gr.Request, sent: Sent) -> Shown:
        """After a change, hide or grey out controls that do not apply, and show what the settings will do."""
        values = self.form.values(sent)
        return self.form.adapt(values) | self.tell(self._language(sent), values, page_address(request))

    def reset(self, request: gr.Request, sent: Sent) -> Shown:
        """Set the noise schedule back to the trained one."""
        values = self.form.values(sent)
        trained = self.form.trained(values)
        values |= trained
        return self.form.adapt(values, trained) | self.tell(self._language(sent), values, page_address(request))

    def _language(self, sent: Sent) -> str:
        return known_language(sent[self.language])

    # Jobs ------------------------------------------------------------------------------------------------------------

    def plan_run(self, request: gr.Request, sent: Sent) -> QueuedJob[RunView]:
        """Plan the job of the button Generate: the run that the controls describe."""
        language, known = self._language(sent), sent[self.recipe.remembered]
        pipeline, plan = plan_run(self.services, self.form.values(sent))
        shown = self.run.shows(request, plan, pipeline.denoiser(plan).description)

        def show(progress: Progress[RunView]) -> Shown:
            if progress.state == "running":
                return shown(progress)
            if progress.state == "done":
                self.services.latency.learn(plan.settings.checkpoint, plan, progress.seconds)
            return shown(progress) | self.recipe.remember(known, language, plan.settings)

        return QueuedJob(language, lambda: run_steps(pipeline, plan), show, self.services.expected_seconds(plan))

    def plan_verification(self, request: gr.Request, sent: Sent) -> QueuedJob[RunView]:
        """Plan the job of the button Verify: run the recipe of a saved file and compare the pictures."""
        language, file = self._language(sent), sent[self.recipe.file]
        verification = self.recipe.verification(file)
        pipeline, plan = verification.pipeline, verification.plan
        shown = self.run.shows(request, plan, pipeline.denoiser(plan).description)

        def show(progress: Progress[RunView]) -> Shown:
            if progress.state == "running":
                return shown(progress)
            return shown(progress) | self.recipe.told(request, file, verification, progress)

        return QueuedJob(language, lambda: run_steps(pipeline, plan), show, self.services.expected_seconds(plan))

    def animate(self, request: gr.Request, sent: Sent) -> Shown:
        """Show this visitor's last run as an animation."""
        language = self._language(sent)
        made = self.run.newest(request)
        if made is None or not made.progress.content.film:
            raise failure(say(language, "film.none"))
        return {self.run.animation: views.animated(list(made.progress.content.film), "ddpm-lab")}
