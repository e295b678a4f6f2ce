"""Generate: choose a checkpoint and the settings of a run, and watch it."""

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

import gradio as gr

from app.form import defaults
from app.later import later
from app.messages import explain
from app.runs import watch
from app.shop import Shop
from app.stage import plan_line
from app.tabs.events import (
    NETWORK_EVENT,
    PRIVATE,
    UNCHANGED,
    Component,
    Sent,
    Shown,
    failure,
    on_choice,
    on_end,
    refusals,
    seat,
    to_the_end,
)
from app.tabs.recipe import RecipePanel, RunPlaces, message, settings_of_query, values_of
from app.tabs.run_controls import START_VALUES, RunControls
from app.texts import DEFAULT, known_language, say

if TYPE_CHECKING:
    from diffusion.plan import Plan

views = later("app.views")

DICE = "() => Math.floor(Math.random() * 1000000)"


class GenerateTab:
    """The tab's components, and its handlers. Of what the browser sends for the controls see RunControls."""

    def __init__(self, shop: Shop, language: gr.Radio, remembered: gr.BrowserState):
        self.shop = shop
        self.language = language
        self.remembered = remembered
        self.form = RunControls(shop)
        self.buttons: dict[str, gr.Button] = {}
        self._lay_out()
        self._wire()

    # Layout ----------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        with gr.Row(elem_id="bench"):
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
                    self.recipe = RecipePanel(self.shop, self.remembered)
            with gr.Column(scale=9, elem_id="show"):
                self.plan = gr.HTML(apply_default_css=False)
                self.progress = gr.HTML(apply_default_css=False)
                self.stage = gr.HTML(apply_default_css=False, elem_id="stage")
                self.plots, self.captions = [], []
                with gr.Row(elem_id="plots"):
                    for caption in _plot_captions(DEFAULT):
                        with gr.Column(min_width=0):
                            self.plots.append(gr.Plot(show_label=False, container=False))
                            self.captions.append(gr.HTML(caption, apply_default_css=False))
                self.film = gr.HTML(apply_default_css=False)
                self._button("animate", size="sm", visible=False)
                self.animation = gr.HTML(apply_default_css=False, elem_id="animation")
        self.readings = gr.HTML(apply_default_css=False, elem_id="readings")

    def _button(self, name: str, **more) -> None:
        self.buttons[name] = gr.Button(say(DEFAULT, f"buttons.{name}"), **more)

    # Events ----------------------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> set[Component]:
        """What every handler is told: the language and the controls."""
        return {self.language} | self.form.inputs

    @property
    def worded(self) -> set[Component]:
        """Everything whose words depend on language and checkpoint: the outputs of `rewrite`."""
        return self.form.worded | self.recipe.worded | {*self.buttons.values(), *self.captions} | self.told

    @property
    def told(self) -> set[Component]:
        """What says and shows, before any sampling, what a run will do: the outputs of `tell`."""
        return {self.plan, *self.plots, self.readings}

    @property
    def whole(self) -> set[Component]:
        """The outputs of `open`."""
        return self.worded | {self.progress, self.stage, self.film, self.buttons["animate"], self.animation}

    @property
    def done(self) -> set[Component]:
        """The outputs of `end`."""
        return {self.buttons["generate"], self.buttons["stop"], self.buttons["animate"]}

    @property
    def places(self) -> RunPlaces:
        """Where a run shows itself."""
        return RunPlaces(self.stage, self.progress, self.film)

    def _wire(self) -> None:
        controls, buttons = self.form.controls, self.buttons
        raw = {"preprocess": False, **PRIVATE}
        self.wire_measure(on_choice(controls["checkpoint"], self.choose, self.inputs, self.whole))

        told = self.form.adapted | self.told
        self.form.on_edit(self.adapt, self.inputs, told, **raw)
        self.form.reset.click(self.reset, self.inputs, told, **raw)
        buttons["dice"].click(None, None, controls["seed"], js=DICE, **PRIVATE)

        go = self.done | {self.progress, self.film, self.animation}
        # Queued, though it is quick: only what went through the queue can show its error on the page
        begun = buttons["generate"].click(
            self.begin, self.inputs, go, **raw | {"queue": True, "concurrency_limit": None}
        )
        run = begun.success(
            self.run,
            self.inputs,
            set(self.places),
            preprocess=False,
            **NETWORK_EVENT,
        )
        on_end(run, self.end, None, self.done, **PRIVATE)
        buttons["stop"].click(self.stop, None, {buttons["stop"]}, **PRIVATE)
        how = {"preprocess": False, "api_visibility": "private", "concurrency_limit": 1}
        buttons["animate"].click(self.animate, {self.language}, {self.animation}, **how)
        self._wire_recipe(run, raw)

    def wire_measure(self, event):
        """After an event that shows another checkpoint; returns the event of having told how fast it is here.

        What is told is of the settings as they stand then: measuring takes its time, and visitors don't wait for it.
        """
        inputs = {self.form.controls["checkpoint"], self.language}
        how = {"trigger_mode": "always_last", "preprocess": False}
        measured = event.then(self.measure, inputs, {self.plan}, **how, **NETWORK_EVENT)
        return measured.then(self.tell_time, self.inputs, {self.plan}, **how, **PRIVATE)

    def _wire_recipe(self, run, raw: dict) -> None:
        panel = self.recipe
        shown = [self.plan.change, self.form.groups["recipe"].expand]
        self.form.on_edit(self.describe, self.inputs, {panel.link, panel.python}, shown, **raw)
        run.success(self.remember, self.inputs | {panel.remembered}, {panel.remembered, panel.history}, **raw)
        restored = on_choice(panel.history, self.restore_link, {self.language, panel.history}, self.whole)
        # A menu: the controls can be changed from here on, and the same run be chosen once more
        restored.then(None, None, panel.history, js="() => null", **PRIVATE)
        panel.file.upload(self.restore_file, {self.language, panel.file}, self.whole | {panel.said}, **raw)
        panel.file.clear(lambda: {panel.said: ""}, None, {panel.said}, **PRIVATE)
        go = self.done | {self.progress, self.film, self.animation}
        begun = panel.verify_button.click(self.begin_verify, {self.language}, go, **raw)
        shown = {panel.said, *self.places}
        verified = begun.success(self.verify, {self.language, panel.file}, shown, preprocess=False, **NETWORK_EVENT)
        on_end(verified, self.end, None, self.done, **PRIVATE)

    # Handlers --------------------------------------------------------------------------------------------------------

    def open(self, language: str, name: str | None = None, query: str = "") -> Shown:
        """The whole tab as a link says, or on a checkpoint with its defaults; by default the first that can be used."""
        catalogue = self.shop.catalogue
        try:
            if settings := settings_of_query(query):
                return self.restored(language, values_of(self.shop, settings))
        except ValueError as error:
            return self.open(language) | {self.stage: views.broken_link(explain(error, language))}
        name = catalogue.default() if name is None else name
        checkpoint = self.shop.checkpoint(name)
        values = {"checkpoint": name} | (defaults(checkpoint, self.shop.options) if checkpoint else START_VALUES)
        if checkpoint is not None:
            stage = views.opening(checkpoint, language)
        elif name in catalogue.names():
            stage = views.broken(explain(catalogue.error_of(name), language))
        else:
            stage = views.empty(str(catalogue.folder))
        return self.rewrite(language, values, with_values=True) | self._at_rest(language, stage)

    def _at_rest(self, language: str, stage: str) -> Shown:
        """Nothing runs, and there is no film."""
        return {
            self.progress: views.status("ready", language),
            self.stage: stage,
            self.film: "",
            self.buttons["animate"]: gr.update(visible=False),
            self.animation: "",
        }

    def rewrite(self, language: str, values: dict, with_values: bool = False) -> Shown:
        """Every word of the tab in a language, with the controls as they are or (with_values) set to `values`."""
        buttons = {one: gr.update(value=say(language, f"buttons.{name}")) for name, one in self.buttons.items()}
        captions = dict(zip(self.captions, _plot_captions(language), strict=True))
        controls = self.form.rewrite(language, values, with_values)
        return controls | buttons | captions | self.tell(language, values) | self.recipe.rewrite(language)

    def restored(self, language: str, values: dict) -> Shown:
        """The whole tab with these values in its controls."""
        checkpoint = self.shop.catalogue.checkpoint(values["checkpoint"])
        stage = views.opening(checkpoint, language)
        return self.rewrite(language, values, with_values=True) | self._at_rest(language, stage)

    def restore_link(self, sent: Sent) -> Shown:
        """An earlier run was chosen."""
        language, query = known_language(sent[self.language]), sent[self.recipe.history]
        return self.open(language, query=query) if isinstance(query, str) else UNCHANGED

    def restore_file(self, sent: Sent) -> Shown:
        """A saved picture was dropped: its settings come back, or the page says why not."""
        language = known_language(sent[self.language])
        try:
            values, said = self.recipe.read(sent[self.recipe.file], language)
        except ValueError as error:
            return {self.recipe.said: message(explain(error, language), is_good=False)}
        return self.restored(language, values) | {self.recipe.said: said}

    def describe(self, request: gr.Request, sent: Sent) -> Shown:
        """The link and the script of what stands in the controls; they stay as they are where that cannot run."""
        try:
            pipeline, plan = self.shop.plan(self.form.values(sent))
        except ValueError:
            return UNCHANGED
        return self.recipe.describe(request, known_language(sent[self.language]), pipeline, plan)

    def remember(self, sent: Sent) -> Shown:
        """A run was finished: the browser remembers it."""
        try:
            _, plan = self.shop.plan(self.form.values(sent))
        except ValueError:
            return UNCHANGED
        return self.recipe.remember(sent[self.recipe.remembered], known_language(sent[self.language]), plan.settings)

    def tell(self, language: str, values: dict) -> Shown:
        """What the settings will do, or what is wrong with them; plots stay as they are where those cannot run."""
        plan, said = self._planned(language, values)
        if plan is None:
            return {self.plan: said}
        plots, sentences = views.before(plan, language)
        return {self.plan: said, self.readings: sentences} | dict(zip(self.plots, plots, strict=True))

    def plan_of(self, language: str, values: dict) -> str:
        """The line that says what the settings will do, or what is wrong with them."""
        return self._planned(language, values)[1]

    def _planned(self, language: str, values: dict) -> "tuple[Plan | None, str]":
        """The plan of the settings, None where they cannot run, and the line that says so."""
        if not self.shop.catalogue.names():
            return None, ""
        try:
            _, plan = self.shop.plan(values)
        except ValueError as error:
            return None, plan_line(explain(error, language), is_error=True)
        seconds = self.shop.pace.expected_seconds(plan.settings.checkpoint, plan)
        return plan, plan_line(views.plan_sentence(plan, language, seconds))

    def measure(self, sent: Sent) -> Shown:
        """A checkpoint is on the page: find out how fast it is here, or say why it cannot be used."""
        name = sent[self.form.controls["checkpoint"]]
        checkpoint = self.shop.checkpoint(name)
        if checkpoint is None:
            return {self.plan: self.plan_of(known_language(sent[self.language]), {"checkpoint": name})}
        self.shop.pace.measure(checkpoint.name, self.shop.catalogue.quick_pipeline(checkpoint.name))
        return UNCHANGED

    def tell_time(self, sent: Sent) -> Shown:
        """What the settings will do, once more: by now it is known how long that takes."""
        return {self.plan: self.plan_of(known_language(sent[self.language]), self.form.values(sent))}

    def choose(self, sent: Sent) -> Shown:
        """Another checkpoint was chosen: its own limits, defaults and pictures; the language stays."""
        return self.open(known_language(sent[self.language]), self.form.values(sent)["checkpoint"])

    def adapt(self, sent: Sent) -> Shown:
        """A control was changed: hide what means nothing now, and say and show what the settings will do."""
        values = self.form.values(sent)
        return self.form.adapt(values) | self.tell(known_language(sent[self.language]), values)

    def reset(self, sent: Sent) -> Shown:
        """Set the noise schedule back to the trained one."""
        values = self.form.values(sent)
        trained = self.form.trained(values)
        values |= trained
        return self.form.adapt(values, trained) | self.tell(known_language(sent[self.language]), values)

    def begin(self, request: gr.Request, sent: Sent) -> Shown:
        """Generate was pressed: refuse at once what cannot run, else say that it is coming."""
        language = known_language(sent[self.language])
        with refusals(language):
            _, plan = self.shop.plan(self.form.values(sent))
            return self._begun(request, language, plan)

    def _begun(self, request: gr.Request, language: str, *plans: "Plan") -> Shown:
        before = self.shop.queue_up(seat(request, "generate"), *plans)
        return {
            self.buttons["generate"]: gr.update(interactive=False),
            self.buttons["stop"]: gr.update(interactive=True),
            self.buttons["animate"]: gr.update(visible=False),
            self.progress: views.waiting(before, language),
            self.film: "",
            self.animation: "",
        }

    def begin_verify(self, request: gr.Request, sent: Sent) -> Shown:
        """Verify was pressed."""
        language = known_language(sent[self.language])
        with refusals(language):
            return self._begun(request, language)

    def verify(self, request: gr.Request, sent: Sent) -> Iterator[Shown]:
        """The run of a saved file's recipe, and how its pictures agree; holds the network until it ends."""
        language = known_language(sent[self.language])
        yield from self.recipe.verify(request, language, sent[self.recipe.file], self.places)

    def run(self, request: gr.Request, sent: Sent) -> Iterator[Shown]:
        """The run itself, a few looks at it a second; holds the network until it ends."""
        language = known_language(sent[self.language])
        failed = {self.progress: views.status("failed", language)}
        yield from to_the_end(self._looks(request, language, self.form.values(sent)), failed, language)

    def _looks(self, request: gr.Request, language: str, values: dict) -> Iterator[Shown]:
        mine = seat(request, "generate")
        self.shop.line.begin(mine)
        pipeline, plan = self.shop.plan(values)
        checkpoint = self.shop.catalogue.checkpoint(values["checkpoint"])
        made_by = pipeline.denoiser(plan).description
        for moment in watch(pipeline, plan.settings, lambda: self.shop.stop_signs.is_up(mine)):
            progress = views.progress(moment, language)
            if moment.state == "running":
                yield {self.stage: views.running(moment, language), self.progress: progress}
                continue
            self.shop.films.keep(request.session_hash, list(moment.film))
            if moment.state == "done":
                self.shop.pace.learn(checkpoint.name, plan, moment.seconds)
            yield {
                self.stage: views.finished(moment, plan, checkpoint, made_by, language),
                self.progress: progress,
                self.film: views.film_of(moment, language),
            }

    def end(self, request: gr.Request) -> Shown:
        """The run is over, one way or the other."""
        self.shop.line.leave(seat(request, "generate"))
        return {
            self.buttons["generate"]: gr.update(interactive=True),
            self.buttons["stop"]: gr.update(interactive=False),
            self.buttons["animate"]: gr.update(visible=True),
        }

    def animate(self, request: gr.Request, sent: Sent) -> Shown:
        """The last run of this visitor as an animation."""
        language = known_language(sent[self.language])
        frames = self.shop.films.of(request.session_hash)
        if frames is None:
            raise failure(say(language, "film.none"))
        return {self.animation: views.animated(frames, "ddpm-lab", language)}

    def stop(self, request: gr.Request) -> Shown:
        """Stop was pressed: the run ends after the step at hand, and shows what it has."""
        self.shop.stop_signs.put_up(seat(request, "generate"))
        return {self.buttons["stop"]: gr.update(interactive=False)}


def _plot_captions(language: str) -> list[str]:
    """What stands below each plot."""
    names = ("amplitudes", "betas", "levels")
    return [f'<p class="note">{escape(say(language, f"plots.{name}"))}</p>' for name in names]
