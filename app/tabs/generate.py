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
from app.tabs.events import NETWORK_EVENT, PRIVATE, failure, on_choice, on_end, refusals, seat, to_the_end
from app.tabs.recipe import RecipePanel, message, settings_of_query, values_of
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
                self.stage = gr.HTML(apply_default_css=False)
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
    def inputs(self) -> list:
        return [self.language, *self.form.controls.values()]

    @property
    def worded(self) -> list:
        """Everything whose words depend on language and checkpoint: the outputs of `rewrite`."""
        told = [self.plan, *self.before, *self.captions, *self.recipe.worded]
        return [*self.form.worded, *self.buttons.values(), *told]

    @property
    def before(self) -> list:
        """What shows, before any sampling, what a run will do: the outputs of `before_of`."""
        return [*self.plots, self.readings]

    @property
    def whole(self) -> list:
        """The outputs of `open`."""
        return [*self.worded, self.progress, self.stage, self.film, self.buttons["animate"], self.animation]

    @property
    def done(self) -> list:
        """The outputs of `end`."""
        return [self.buttons["generate"], self.buttons["stop"], self.buttons["animate"]]

    def _wire(self) -> None:
        controls, buttons = self.form.controls, self.buttons
        raw = {"preprocess": False, **PRIVATE}
        self.wire_measure(on_choice(controls["checkpoint"], self.choose, self.inputs, self.whole))

        told = [*self.form.adapted, self.plan, *self.before]
        self.form.on_edit(self.adapt, self.inputs, told, **raw)
        self.form.reset.click(self.reset, self.inputs, told, **raw)
        buttons["dice"].click(None, None, controls["seed"], js=DICE, **PRIVATE)

        go = [buttons["generate"], buttons["stop"], self.progress, self.film, buttons["animate"], self.animation]
        # Queued, though it is quick: only what went through the queue can show its error on the page
        begun = buttons["generate"].click(
            self.begin, self.inputs, go, **raw | {"queue": True, "concurrency_limit": None}
        )
        run = begun.success(
            self.run,
            self.inputs,
            [self.stage, self.progress, self.film],
            preprocess=False,
            **NETWORK_EVENT,
        )
        on_end(run, self.end, None, self.done, **PRIVATE)
        buttons["stop"].click(self.stop, None, buttons["stop"], **PRIVATE)
        buttons["animate"].click(
            self.animate, self.language, self.animation, preprocess=False, api_visibility="private", concurrency_limit=1
        )
        self._wire_recipe(run, raw)

    def wire_measure(self, event):
        """After an event that shows another checkpoint; returns the event of having told how fast it is here.

        What is told is of the settings as they stand then: measuring takes its time, and visitors don't wait for it.
        """
        inputs = [self.form.controls["checkpoint"], self.language]
        how = {"trigger_mode": "always_last", "preprocess": False}
        measured = event.then(self.measure, inputs, self.plan, **how, **NETWORK_EVENT)
        return measured.then(self.tell, self.inputs, self.plan, **how, **PRIVATE)

    def _wire_recipe(self, run, raw: dict) -> None:
        panel, buttons = self.recipe, self.buttons
        shown = [self.plan.change, self.form.groups["recipe"].expand]
        self.form.on_edit(self.describe, self.inputs, [panel.link, panel.python], shown, **raw)
        run.success(self.remember, [panel.remembered, *self.inputs], [panel.remembered, panel.history], **raw)
        restored = on_choice(panel.history, self.restore_link, [self.language, panel.history], self.whole)
        # A menu: the controls can be changed from here on, and the same run be chosen once more
        restored.then(None, None, panel.history, js="() => null", **PRIVATE)
        panel.file.upload(self.restore_file, [self.language, panel.file], [*self.whole, panel.said], **raw)
        panel.file.clear(lambda: "", None, panel.said, **PRIVATE)
        go = [buttons["generate"], buttons["stop"], self.progress, self.film, buttons["animate"], self.animation]
        begun = panel.verify_button.click(self.begin_verify, self.language, go, **raw)
        verified = begun.success(
            panel.verify,
            [self.language, panel.file],
            [panel.said, self.stage, self.progress, self.film],
            preprocess=False,
            **NETWORK_EVENT,
        )
        on_end(verified, self.end, None, self.done, **PRIVATE)

    # Handlers --------------------------------------------------------------------------------------------------------

    def open(self, language: str, name: str | None = None, query: str = "") -> list:
        """The whole tab as a link says, or on a checkpoint with its defaults; by default the first that can be used."""
        catalogue = self.shop.catalogue
        try:
            if settings := settings_of_query(query):
                return self.restored(language, values_of(self.shop, settings))
        except ValueError as error:
            return [*self.open(language)[:-1], views.broken_link(explain(error, language))]
        name = catalogue.default() if name is None else name
        checkpoint = self.shop.checkpoint(name)
        values = {"checkpoint": name} | (defaults(checkpoint, self.shop.options) if checkpoint else START_VALUES)
        if checkpoint is not None:
            stage = views.opening(checkpoint, language)
        elif name in catalogue.names():
            stage = views.broken(explain(catalogue.error_of(name), language))
        else:
            stage = views.empty(str(catalogue.folder))
        return [*self.rewrite(language, values, with_values=True), *self._at_rest(language, stage)]

    def _at_rest(self, language: str, stage: str) -> list:
        """Nothing runs, and there is no film: the outputs of `open` after those of `rewrite`."""
        return [views.status("ready", language), stage, "", gr.update(visible=False), ""]

    def rewrite(self, language: str, values: dict, with_values: bool = False) -> list:
        """Every word of the tab in a language, with the controls as they are or (with_values) set to `values`."""
        updates = self.form.rewrite(language, values, with_values)
        updates += [gr.update(value=say(language, f"buttons.{name}")) for name in self.buttons]
        told = [self.plan_of(language, values), *self.before_of(language, values), *_plot_captions(language)]
        return [*updates, *told, *self.recipe.rewrite(language)]

    def restored(self, language: str, values: dict) -> list:
        """The whole tab with these values in its controls."""
        checkpoint = self.shop.catalogue.checkpoint(values["checkpoint"])
        words = self.rewrite(language, values, with_values=True)
        return [*words, *self._at_rest(language, views.opening(checkpoint, language))]

    def restore_link(self, language, query) -> list:
        """An earlier run was chosen."""
        language = known_language(language)
        return self.open(language, query=query) if isinstance(query, str) else [gr.skip()] * len(self.whole)

    def restore_file(self, language, sent) -> list:
        """A saved picture was dropped: its settings come back, or it is said why not."""
        language = known_language(language)
        try:
            values, said = self.recipe.read(sent, language)
        except ValueError as error:
            return [*[gr.skip()] * len(self.whole), message(explain(error, language), is_good=False)]
        return [*self.restored(language, values), said]

    def describe(self, request: gr.Request, language, *sent) -> tuple:
        """The link and the script of what stands in the controls; they stay as they are where that cannot run."""
        try:
            return self.recipe.describe(request, known_language(language), *self.shop.plan(self.form.values(sent)))
        except ValueError:
            return gr.skip(), gr.skip()

    def remember(self, known, language, *sent) -> tuple:
        """A run was finished: the browser remembers it."""
        try:
            _, plan = self.shop.plan(self.form.values(sent))
        except ValueError:
            return gr.skip(), gr.skip()
        return self.recipe.remember(known, known_language(language), plan.settings)

    def plan_of(self, language: str, values: dict) -> str:
        """The line that says what the settings will do, or what is wrong with them."""
        if not self.shop.catalogue.names():
            return ""
        try:
            _, plan = self.shop.plan(values)
        except ValueError as error:
            return plan_line(explain(error, language), is_error=True)
        seconds = self.shop.pace.expected_seconds(plan.settings.checkpoint, plan)
        return plan_line(views.plan_sentence(plan, language, seconds))

    def before_of(self, language: str, values: dict) -> list:
        """The plots and sentences of the settings; they stay as they are where the settings cannot run."""
        try:
            _, plan = self.shop.plan(values)
        except ValueError:
            return [gr.skip()] * len(self.before)
        plots, sentences = views.before(plan, language)
        return [*plots, sentences]

    def measure(self, name, language):
        """A checkpoint is on the page: find out how fast it is here, or say why it cannot be used."""
        checkpoint = self.shop.checkpoint(name)
        if checkpoint is None:
            return self.plan_of(known_language(language), {"checkpoint": name})
        self.shop.pace.measure(checkpoint.name, self.shop.catalogue.quick_pipeline(checkpoint.name))
        return gr.skip()

    def tell(self, language, *sent) -> str:
        """What the settings will do, once more: it is known by now how long that takes."""
        return self.plan_of(known_language(language), self.form.values(sent))

    def choose(self, language, *sent) -> list:
        """Another checkpoint was chosen: its own limits, defaults and pictures; the language stays."""
        return self.open(known_language(language), self.form.values(sent)["checkpoint"])

    def adapt(self, language, *sent) -> list:
        """A control was changed: hide what means nothing now, and say and show what the settings will do."""
        language, values = known_language(language), self.form.values(sent)
        return [*self.form.adapt(values), self.plan_of(language, values), *self.before_of(language, values)]

    def reset(self, language, *sent) -> list:
        """Set the noise schedule back to the trained one."""
        language, values = known_language(language), self.form.values(sent)
        trained = self.form.trained(values)
        values |= trained
        return [*self.form.adapt(values, trained), self.plan_of(language, values), *self.before_of(language, values)]

    def begin(self, request: gr.Request, language, *sent):
        """Generate was pressed: refuse at once what cannot run, else say that it is coming."""
        language = known_language(language)
        with refusals(language):
            _, plan = self.shop.plan(self.form.values(sent))
            return self._begun(request, language, plan)

    def _begun(self, request: gr.Request, language: str, *plans: "Plan") -> tuple:
        before = self.shop.queue_up(seat(request, "generate"), *plans)
        return (
            gr.update(interactive=False),
            gr.update(interactive=True),
            views.waiting(before, language),
            "",
            gr.update(visible=False),
            "",
        )

    def begin_verify(self, request: gr.Request, language) -> tuple:
        """Verify was pressed."""
        language = known_language(language)
        with refusals(language):
            return self._begun(request, language)

    def run(self, request: gr.Request, language, *sent) -> Iterator[tuple]:
        """The run itself, a few looks at it a second; holds the network until it ends."""
        language = known_language(language)
        failed = gr.skip(), views.status("failed", language), gr.skip()
        yield from to_the_end(self._looks(request, language, self.form.values(sent)), failed, language)

    def _looks(self, request: gr.Request, language: str, values: dict) -> Iterator[tuple]:
        mine = seat(request, "generate")
        self.shop.line.begin(mine)
        pipeline, plan = self.shop.plan(values)
        checkpoint = self.shop.catalogue.checkpoint(values["checkpoint"])
        made_by = pipeline.denoiser(plan).description
        for moment in watch(pipeline, plan.settings, lambda: self.shop.stop_signs.is_up(mine)):
            progress = views.progress(moment, language)
            if moment.state == "running":
                yield views.running(moment, language), progress, gr.skip()
                continue
            self.shop.films.keep(request.session_hash, list(moment.film))
            if moment.state == "done":
                self.shop.pace.learn(checkpoint.name, plan, moment.seconds)
            pictures = views.finished(moment, plan, checkpoint, made_by, language)
            yield pictures, progress, views.film_of(moment, language)

    def end(self, request: gr.Request) -> tuple:
        """The run is over, one way or the other."""
        self.shop.line.leave(seat(request, "generate"))
        return gr.update(interactive=True), gr.update(interactive=False), gr.update(visible=True)

    def animate(self, request: gr.Request, language) -> str:
        """The last run of this visitor as an animation."""
        language = known_language(language)
        frames = self.shop.films.of(request.session_hash)
        if frames is None:
            raise failure(say(language, "film.none"))
        return views.animated(frames, "ddpm-lab", language)

    def stop(self, request: gr.Request):
        """Stop was pressed: the run ends after the step at hand, and shows what it has."""
        self.shop.stop_signs.put_up(seat(request, "generate"))
        return gr.update(interactive=False)


def _plot_captions(language: str) -> list[str]:
    """What stands below each plot."""
    names = ("amplitudes", "betas", "levels")
    return [f'<p class="note">{escape(say(language, f"plots.{name}"))}</p>' for name in names]
