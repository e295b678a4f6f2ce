"""Compare: two runs side by side from the same first noise."""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

import gradio as gr

from app.form import controls_of, defaults
from app.later import later
from app.line import Seat
from app.messages import explain
from app.presets import DEFAULT_PRESET, PRESETS, check_preset, preset_settings
from app.shop import Shop
from app.stage import plan_line
from app.tabs.events import NETWORK_EVENT, PRIVATE, on_choice, on_end, refusals, seat, to_the_end
from app.tabs.recipe import noted_link, page_address, query_fields, values_of
from app.tabs.run_controls import START_VALUES, RunControls
from app.texts import DEFAULT, known_language, say
from diffusion.recipe import from_query, to_query

if TYPE_CHECKING:
    from diffusion.plan import Plan

duels, plots = later("app.duel"), later("app.plots")
duel_views, views = later("app.duel_views"), later("app.views")

NUM_IMAGES = 4
SIDES = ("a", "b")


class CompareTab:
    """The tab's components, and its handlers. Both runs have controls of their own, but for seed and count."""

    def __init__(self, shop: Shop, language: gr.Radio):
        self.shop = shop
        self.language = language
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
        a = RunControls(self.shop)
        with gr.Row(elem_classes="seeds"):
            a.lay_out_seed()
            a.lay_out_count()
        self.sides: list[gr.Accordion] = []
        with gr.Row(elem_classes="duellists"):
            with gr.Column(min_width=300), self._side("a"):
                self._lay_out_run(a)
            b = RunControls(self.shop, {name: a.own[name] for name in ("seed", "num_images")})
            with gr.Column(min_width=300), self._side("b"):
                self._lay_out_run(b)
        self.forms = (a, b)
        with gr.Row(elem_classes="go"):
            self.start = gr.Button(say(DEFAULT, "buttons.compare"), variant="primary", scale=3)
            self.stop = gr.Button(say(DEFAULT, "buttons.stop"), interactive=False, scale=1)
        self.plan = gr.HTML(apply_default_css=False)
        self.progress = gr.HTML(apply_default_css=False)
        self.strips = gr.HTML(apply_default_css=False)
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
    def inputs(self) -> list:
        """Language and preset, then the controls of both runs."""
        return [self.language, self.preset, *(c for form in self.forms for c in form.controls.values())]

    @property
    def worded(self) -> list:
        """The outputs of `rewrite`."""
        forms = [component for form in self.forms for component in form.worded]
        return [self.preset, self.hint, *forms, *self.sides, self.start, self.stop, self.plan, self.link]

    @property
    def whole(self) -> list:
        """The outputs of `open`."""
        return [*self.worded, self.progress, self.strips, self.outcome, self.plot]

    def _wire(self) -> None:
        raw = {"preprocess": False, **PRIVATE}
        on_choice(self.preset, self.choose_preset, self.inputs, self.whole)
        for side, form in enumerate(self.forms):
            told = [*form.adapted, self.plan, self.link]
            chosen = on_choice(form.controls["checkpoint"], self._choose_checkpoint(side), self.inputs, form.worded)
            chosen.then(self._adapt(side), self.inputs, told, trigger_mode="always_last", **raw)
            form.reset.click(self._reset(side), self.inputs, told, **raw)
            form.on_edit(self._adapt(side), self.inputs, told, **raw)
        go = [self.start, self.stop, self.progress]
        begun = self.start.click(self.begin, self.inputs, go, **raw | {"queue": True, "concurrency_limit": None})
        shown = [self.strips, self.progress, self.outcome, self.plot]
        run = begun.success(self.run, self.inputs, shown, preprocess=False, **NETWORK_EVENT)
        on_end(run, self.end, None, [self.start, self.stop], **PRIVATE)
        self.stop.click(self.halt, None, self.stop, **PRIVATE)

    # Handlers --------------------------------------------------------------------------------------------------------

    def sent_values(self, sent: tuple) -> tuple[str, list[dict]]:
        """The preset and both runs' values, from what was sent after the language."""
        preset, rest = sent[0], sent[1:]
        count = len(self.forms[0].controls)
        return preset, [self.forms[0].values(rest[:count]), self.forms[1].values(rest[count:])]

    def plans(self, values: list[dict]) -> list:
        """(pipeline, plan) of both runs. Raises ValueError: which run, which field, and its range."""
        found = []
        for side, of_run in zip(duel_views.NAMES, values, strict=True):
            try:
                found.append(self.shop.plan(of_run))
            except ValueError as error:
                error.side = side
                raise
        return found

    def open(self, language: str, query: str = "") -> list:
        """The whole tab: as a link says, or with the first comparison on the first checkpoint that can be used."""
        try:
            preset, values = self._linked(query)
        except ValueError as error:
            return [
                *self.open(language)[:-3],
                views.broken_link(explain(error, language)),
                "",
                gr.update(visible=False),
            ]
        return self._rested(language, preset, values or [{"checkpoint": None} | START_VALUES] * 2)

    def _count(self) -> int:
        return min(NUM_IMAGES, self.shop.options.max_images)

    def _linked(self, query: str) -> tuple[str, list[dict] | None]:
        """The comparison and both runs' values that an address names, or else the first on the first checkpoint.

        ?tab=compare&preset=NAME is a comparison on its own; no values where no checkpoint can be used. Raises
        ValueError naming the field.
        """
        fields = query_fields(query)
        preset = fields.get("preset", DEFAULT_PRESET) if fields.get("tab") == "compare" else DEFAULT_PRESET
        check_preset(preset)
        runs = [from_query({k[2:]: v for k, v in fields.items() if k.startswith(f"{side}.")}) for side in SIDES]
        if None not in runs:
            return preset, [values_of(self.shop, settings) for settings in runs]
        checkpoint = self.shop.checkpoint(self.shop.catalogue.default())
        if checkpoint is None:
            return preset, None
        return preset, [controls_of(s, checkpoint) for s in preset_settings(preset, checkpoint, 0, self._count())]

    def _rested(self, language: str, preset: str, values: list[dict], address: str = "") -> list:
        words = self.rewrite(language, preset, values, with_values=True, address=address)
        return [*words, views.status("ready", language), "", "", gr.update(visible=False)]

    def rewrite(self, language: str, preset, values: list[dict], with_values: bool = False, address: str = "") -> list:
        """Every word of the tab in a language, with the controls as they are or (with_values) set to `values`."""
        preset = preset if isinstance(preset, str) and preset in PRESETS else DEFAULT_PRESET
        forms = [
            update
            for form, of_run in zip(self.forms, values, strict=True)
            for update in form.rewrite(language, of_run, with_values)
        ]
        choices = [(say(language, f"presets.{name}.title"), name) for name in PRESETS]
        return [
            gr.update(
                choices=choices, label=say(language, "compare.preset"), **{"value": preset} if with_values else {}
            ),
            duel_views.preset_words(preset, language),
            *forms,
            *(gr.update(label=say(language, f"compare.run_{side}")) for side in SIDES),
            gr.update(value=say(language, "buttons.compare")),
            gr.update(value=say(language, "buttons.stop")),
            *self.told(language, values, address),
        ]

    def told(self, language: str, values: list[dict], address: str = "") -> list:
        """What both runs will do, or what is wrong with them; and the link to them."""
        if not self.shop.catalogue.names():
            return ["", ""]
        try:
            plans = [plan for _, plan in self.plans(values)]
        except ValueError as error:
            return [plan_line(self._explain(error, language), is_error=True), gr.skip()]
        seconds = tuple(self.shop.pace.expected_seconds(plan.settings.checkpoint, plan) for plan in plans)
        return [plan_line(duel_views.plan_lines(tuple(plans), seconds, language)), self._link(plans, address, language)]

    def _explain(self, error: ValueError, language: str) -> str:
        side = getattr(error, "side", None)
        return f"{side}: {explain(error, language)}" if side else explain(error, language)

    def _link(self, plans: "list[Plan]", address: str, language: str) -> str:
        if not address:
            return gr.skip()
        fields = [("tab", "compare")]
        for side, plan in zip(SIDES, plans, strict=True):
            fields += [(f"{side}.{name}", value) for name, value in parse_qsl(to_query(plan.settings))]
        return noted_link(f"{address}?{urlencode(fields)}", say(language, "compare.link"))

    def choose_preset(self, request: gr.Request, language, *sent) -> list:
        """Another comparison: its settings on the checkpoint, seed and number of pictures of the first run."""
        language = known_language(language)
        preset, values = self.sent_values(sent)
        checkpoint = self.shop.checkpoint(values[0]["checkpoint"])
        if checkpoint is None or not isinstance(preset, str) or preset not in PRESETS:
            return [gr.skip()] * len(self.whole)
        settings = preset_settings(preset, checkpoint, 0, self._count())
        kept = {name: values[0][name] for name in ("seed", "num_images")}
        return self._rested(
            language, preset, [controls_of(s, checkpoint) | kept for s in settings], page_address(request)
        )

    def _choose_checkpoint(self, side: int):
        def choose(language, *sent) -> list:
            """Another checkpoint for one run: its limits and defaults; what both share stays.

            What stays is not sent back: on a slow machine it would undo what the visitor has changed meanwhile.
            """
            form, of_run = self.forms[side], self.sent_values(sent)[1][side]
            checkpoint = self.shop.checkpoint(of_run["checkpoint"])
            if checkpoint is None:
                return [gr.skip()] * len(form.worded)
            kept = {"seed", "num_images", "sampler", "timestep_spacing"}
            steps = of_run["num_inference_steps"]
            if isinstance(steps, int) and steps <= checkpoint.num_train_timesteps:
                kept.add("num_inference_steps")
            fresh = {name: value for name, value in defaults(checkpoint, self.shop.options).items() if name not in kept}
            return form.rewrite(known_language(language), of_run | fresh, fresh)

        return choose

    def _adapt(self, side: int):
        def adapt(request: gr.Request, language, *sent) -> list:
            """A control of one run was changed."""
            _, values = self.sent_values(sent)
            address = page_address(request)
            return [*self.forms[side].adapt(values[side]), *self.told(known_language(language), values, address)]

        return adapt

    def _reset(self, side: int):
        def reset(request: gr.Request, language, *sent) -> list:
            """Set one run's noise schedule back to the trained one."""
            _, values = self.sent_values(sent)
            trained = self.forms[side].trained(values[side])
            values[side] = values[side] | trained
            told = self.told(known_language(language), values, page_address(request))
            return [*self.forms[side].adapt(values[side], trained), *told]

        return reset

    def begin(self, request: gr.Request, language, *sent) -> tuple:
        """Compare was pressed: refuse at once what cannot run, else say that it is coming."""
        language = known_language(language)
        with refusals(language, self._explain):
            plans = [plan for _, plan in self._checked(self.sent_values(sent)[1])]
            before = self.shop.queue_up(seat(request, "compare"), *plans)
        return gr.update(interactive=False), gr.update(interactive=True), views.waiting(before, language)

    def _checked(self, values: list[dict]) -> list:
        """(pipeline, plan) of both runs, which fit together and cost no more than the server allows."""
        found = self.plans(values)
        (a, plan_a), (b, plan_b) = found
        self.shop.check_duel(a, plan_a, b, plan_b)
        return found

    def run(self, request: gr.Request, language, *sent) -> Iterator[tuple]:
        """Both runs, step by step; holds the network until they end."""
        language = known_language(language)
        looks = self._looks(seat(request, "compare"), language, self.sent_values(sent)[1])
        failed = gr.skip(), views.status("failed", language), gr.skip(), gr.skip()
        yield from to_the_end(looks, failed, language, self._explain)

    def _looks(self, mine: Seat, language: str, values: list[dict]) -> Iterator[tuple]:
        self.shop.line.begin(mine)
        (a, plan_a), (b, plan_b) = self._checked(values)
        checkpoints = tuple(self.shop.catalogue.checkpoint(p.settings.checkpoint) for p in (plan_a, plan_b))
        made_by = (a.denoiser(plan_a).description, b.denoiser(plan_b).description)
        for moment in duels.duel(a, plan_a, b, plan_b, lambda: self.shop.stop_signs.is_up(mine)):
            strips, progress = duel_views.strips_of(moment, language), duel_views.progress(moment, language)
            if moment.state == "running":
                yield strips, progress, "", gr.update(visible=False)
                continue
            outcome = duel_views.outcome(moment, (plan_a, plan_b), checkpoints, made_by, language)
            plot = plots.parting(moment.partings, language)
            yield strips, progress, outcome, gr.update(value=plot, visible=bool(moment.partings))

    def end(self, request: gr.Request) -> tuple:
        """Both runs are over, one way or the other."""
        self.shop.line.leave(seat(request, "compare"))
        return gr.update(interactive=True), gr.update(interactive=False)

    def halt(self, request: gr.Request):
        """Stop was pressed: the comparison ends after the step at hand, and shows what it has."""
        self.shop.stop_signs.put_up(seat(request, "compare"))
        return gr.update(interactive=False)
