"""Generate: choose a checkpoint and the settings of a run, and watch it."""

import logging
from collections.abc import Iterator
from html import escape

import gradio as gr

from app import views
from app.controls import checkpoint_choices, control_meanings, control_props
from app.form import DEFAULTS, USUAL_BETAS, defaults, trained_betas
from app.messages import explain
from app.runs import NETWORK, watch
from app.shop import Shop
from app.stage import plan_line
from app.tabs.recipe import RecipePanel, message, settings_of_query
from app.texts import DEFAULT, known_language, say

GROUPS = ("more", "schedule", "sampler", "recipe")
PRIVATE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
DICE = "() => Math.floor(Math.random() * 1000000)"
SCHEDULE = ("beta_schedule", "beta_start", "beta_end")
ADAPTED = (*SCHEDULE, "conditioning", "class_choice", "guidance_scale", "eta", "reverse_variance")
START_VALUES = DEFAULTS | {"beta_schedule": "linear", "beta_start": USUAL_BETAS[0], "beta_end": USUAL_BETAS[1]}

logger = logging.getLogger(__name__)


class GenerateTab:
    """The tab's components. `controls` holds what a run is made of, by name; the handlers get its values in its order.

    Handlers take values as the browser sent them (preprocess=False): the settings check them all, and say which one is
    wrong in the visitor's language, which Gradio's own checks cannot.
    """

    def __init__(self, shop: Shop, language: gr.Radio):
        self.shop = shop
        self.language = language
        self.controls: dict[str, gr.components.Component] = {}
        self.groups: dict[str, gr.Accordion] = {}
        self.buttons: dict[str, gr.Button] = {}
        self._lay_out()
        self._wire()

    # Layout ----------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        props = control_props(DEFAULT, None, self.shop.options)
        shown = control_meanings(START_VALUES, None)

        def control(name: str, kind, **more):
            if kind is gr.Slider:
                more["buttons"] = []  # its own reset knows the first checkpoint's value only
            arguments = {"value": START_VALUES.get(name)} | props.get(name, {}) | shown.get(name, {}) | more
            self.controls[name] = kind(**arguments)

        # Outside of every accordion: what lies in a closed one is not on the page, and remembers nothing
        remembered = gr.BrowserState([], storage_key="ddpm-lab-history", secret="not-a-secret-only-fixed")
        with gr.Row(elem_id="bench"):
            with gr.Column(scale=4, elem_id="controls"):
                control("checkpoint", gr.Dropdown, label=say(DEFAULT, "controls.checkpoint.label"), filterable=False)
                control("class_choice", gr.Dropdown, filterable=False)
                control("sampler", gr.Radio)
                control("num_inference_steps", gr.Slider)
                with gr.Row(elem_id="seed-row"):
                    control("seed", gr.Number)
                    self._button("dice", elem_id="dice")
                with gr.Row(elem_id="go"):
                    self._button("generate", variant="primary", scale=3)
                    self._button("stop", interactive=False, scale=1)
                with self._group("more"):
                    control("num_images", gr.Slider)
                    control("guidance_scale", gr.Slider)
                with self._group("schedule"):
                    control("beta_schedule", gr.Dropdown, filterable=False)
                    control("beta_start", gr.Slider)
                    control("beta_end", gr.Slider)
                    control("conditioning", gr.Radio)
                    self._button("reset", size="sm")
                with self._group("sampler"):
                    control("eta", gr.Slider)
                    control("reverse_variance", gr.Radio)
                    control("timestep_spacing", gr.Radio)
                    control("clip_sample", gr.Checkbox)
                with self._group("recipe"):
                    self.recipe = RecipePanel(self.shop, remembered)
            with gr.Column(scale=9, elem_id="show"):
                self.plan = gr.HTML(apply_default_css=False)
                self.progress = gr.HTML(apply_default_css=False)
                self.stage = gr.HTML(apply_default_css=False)

    def _group(self, name: str) -> gr.Accordion:
        self.groups[name] = gr.Accordion(say(DEFAULT, f"groups.{name}"), open=False)
        return self.groups[name]

    def _button(self, name: str, **more) -> None:
        self.buttons[name] = gr.Button(say(DEFAULT, f"buttons.{name}"), **more)

    # Events ----------------------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> list:
        return [self.language, *self.controls.values()]

    @property
    def worded(self) -> list:
        """Everything whose words depend on language and checkpoint: the outputs of `rewrite`."""
        return [*self.controls.values(), *self.groups.values(), *self.buttons.values(), self.plan, *self.recipe.worded]

    @property
    def whole(self) -> list:
        """The outputs of `open`."""
        return [*self.worded, self.progress, self.stage]

    def _wire(self) -> None:
        controls, buttons = self.controls, self.buttons
        raw = {"preprocess": False, **PRIVATE}
        controls["checkpoint"].input(self.choose, self.inputs, self.whole, **raw)

        edits = [
            getattr(control, event)
            for name, control in controls.items()
            if name != "checkpoint"
            for event in ("change" if isinstance(control, gr.Slider | gr.Number) else "input",)
        ]
        adapted = [*(controls[name] for name in ADAPTED), self.plan]
        gr.on(edits, self.adapt, self.inputs, adapted, trigger_mode="always_last", **raw)
        buttons["reset"].click(self.reset, self.inputs, adapted, **raw)
        buttons["dice"].click(None, None, controls["seed"], js=DICE, **PRIVATE)

        go = [buttons["generate"], buttons["stop"], self.progress]
        # Queued, though it is quick: only what went through the queue can show its error on the page
        begun = buttons["generate"].click(
            self.begin, self.inputs, go, **raw | {"queue": True, "concurrency_limit": None}
        )
        run = begun.success(
            self.run,
            self.inputs,
            [self.stage, self.progress],
            preprocess=False,
            show_progress="hidden",
            api_visibility="private",
            concurrency_id=NETWORK,
            concurrency_limit=1,
        )
        run.then(self.end, None, [buttons["generate"], buttons["stop"]], **PRIVATE)
        buttons["stop"].click(self.stop, None, buttons["stop"], **PRIVATE)
        self._wire_recipe(edits, run, raw)

    def _wire_recipe(self, edits: list, run, raw: dict) -> None:
        panel, buttons = self.recipe, self.buttons
        gr.on(
            [*edits, self.plan.change, self.groups["recipe"].expand],
            self.describe,
            self.inputs,
            [panel.link, panel.python],
            trigger_mode="always_last",
            **raw,
        )
        run.success(self.remember, [panel.remembered, *self.inputs], [panel.remembered, panel.history], **raw)
        panel.history.input(self.restore_link, [self.language, panel.history], self.whole, **raw)
        panel.file.upload(self.restore_file, [self.language, panel.file], [*self.whole, panel.said], **raw)
        panel.file.clear(lambda: "", None, panel.said, **PRIVATE)
        go = [buttons["generate"], buttons["stop"], self.progress]
        begun = panel.verify_button.click(self.begin_verify, self.language, go, **raw)
        verified = begun.success(
            panel.verify,
            [self.language, panel.file],
            [panel.said, self.stage, self.progress],
            preprocess=False,
            show_progress="hidden",
            api_visibility="private",
            concurrency_id=NETWORK,
            concurrency_limit=1,
        )
        verified.then(self.end, None, [buttons["generate"], buttons["stop"]], **PRIVATE)

    # Handlers --------------------------------------------------------------------------------------------------------

    def values(self, sent: tuple) -> dict:
        """A control's name -> the value that was sent for it."""
        return dict(zip(self.controls, sent, strict=True))

    def open(self, language: str, name: str | None = None, query: str = "") -> list:
        """The whole tab as a link says, or on a checkpoint with its defaults; by default the first that can be used."""
        catalogue = self.shop.catalogue
        try:
            if settings := settings_of_query(query):
                return self.restored(language, self.recipe.values_of(settings))
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
        return [*self.rewrite(language, values, with_values=True), views.status("ready", language), stage]

    def rewrite(self, language: str, values: dict, with_values: bool = False) -> list:
        """Every word of the tab in a language, with the controls as they are or (with_values) set to `values`."""
        checkpoint = self.shop.checkpoint(values["checkpoint"])
        props = control_props(language, checkpoint, self.shop.options)
        props["checkpoint"] = {
            "label": say(language, "controls.checkpoint.label"),
            "info": say(language, "controls.checkpoint.info"),
            "choices": checkpoint_choices(language, self.shop.catalogue),
        }
        meanings = control_meanings(values, checkpoint)
        updates = []
        for name in self.controls:
            value = {"value": values[name]} if with_values else {}
            updates.append(gr.update(**props[name], **meanings.get(name, {}), **value))
        updates += [gr.update(label=say(language, f"groups.{name}")) for name in GROUPS]
        updates += [gr.update(value=say(language, f"buttons.{name}")) for name in self.buttons]
        return [*updates, self.plan_of(language, values), *self.recipe.rewrite(language)]

    def restored(self, language: str, values: dict) -> list:
        """The whole tab with these values in its controls."""
        checkpoint = self.shop.catalogue.checkpoint(values["checkpoint"])
        words = self.rewrite(language, values, with_values=True)
        return [*words, views.status("ready", language), views.opening(checkpoint, language)]

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
            return self.recipe.describe(request, known_language(language), *self.shop.plan(self.values(sent)))
        except ValueError:
            return gr.skip(), gr.skip()

    def remember(self, known, language, *sent) -> tuple:
        """A run was finished: the browser remembers it."""
        try:
            _, plan = self.shop.plan(self.values(sent))
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
        return plan_line(views.plan_sentence(plan, language))

    def choose(self, language, *sent) -> list:
        """Another checkpoint was chosen: its own limits, defaults and pictures; the language stays."""
        return self.open(known_language(language), self.values(sent)["checkpoint"])

    def adapt(self, language, *sent) -> list:
        """A control was changed: hide what means nothing now, and say what the settings will do."""
        values = self.values(sent)
        return self._adapted(known_language(language), values, {})

    def reset(self, language, *sent) -> list:
        """Set the noise schedule back to the trained one."""
        values = self.values(sent)
        checkpoint = self.shop.checkpoint(values["checkpoint"])
        trained = trained_betas(checkpoint) if checkpoint else {}
        return self._adapted(known_language(language), values | trained, trained)

    def _adapted(self, language: str, values: dict, changed: dict) -> list:
        meanings = control_meanings(values, self.shop.checkpoint(values["checkpoint"]))
        updates = []
        for name in ADAPTED:
            value = {"value": changed[name]} if name in changed else {}
            updates.append(gr.update(**meanings.get(name, {}), **value))
        return [*updates, self.plan_of(language, values)]

    def begin(self, request: gr.Request, language, *sent):
        """Generate was pressed: refuse at once what cannot run, else say that it is coming."""
        language = known_language(language)
        try:
            self.shop.plan(self.values(sent))
        except ValueError as error:
            raise _error(explain(error, language)) from None
        self.shop.stop_signs.take_down(request.session_hash)
        return gr.update(interactive=False), gr.update(interactive=True), views.status("waiting", language)

    def begin_verify(self, request: gr.Request, language) -> tuple:
        """Verify was pressed."""
        self.shop.stop_signs.take_down(request.session_hash)
        waiting = views.status("waiting", known_language(language))
        return gr.update(interactive=False), gr.update(interactive=True), waiting

    def run(self, request: gr.Request, language, *sent) -> Iterator[tuple]:
        """The run itself, a few looks at it a second; holds the network until it ends."""
        language, session = known_language(language), request.session_hash
        values = self.values(sent)
        try:
            pipeline, plan = self.shop.plan(values)
            checkpoint = self.shop.catalogue.checkpoint(values["checkpoint"])
            made_by = pipeline.denoiser(plan).description
            for moment in watch(pipeline, plan.settings, lambda: self.shop.stop_signs.is_up(session)):
                if moment.state == "running":
                    yield views.running(moment, language), views.progress(moment, language)
                else:
                    yield views.finished(moment, plan, checkpoint, made_by, language), views.progress(moment, language)
        except ValueError as error:
            raise _error(explain(error, language)) from None
        except Exception:
            logger.exception("a run failed")
            yield gr.skip(), views.status("failed", language)
            raise _error(say(language, "errors.server")) from None

    def end(self) -> tuple:
        """The run is over, one way or the other."""
        return gr.update(interactive=True), gr.update(interactive=False)

    def stop(self, request: gr.Request):
        """Stop was pressed: the run ends after the step at hand, and shows what it has."""
        self.shop.stop_signs.put_up(request.session_hash)
        return gr.update(interactive=False)


def _error(message: str) -> gr.Error:
    """A message on the page, for what was asked and is not done. Gradio shows it as HTML."""
    return gr.Error(escape(message).replace("\n", "<br>"), print_exception=False)
