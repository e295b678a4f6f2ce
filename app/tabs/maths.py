"""The mathematics: a table of contents, and one chapter at a time with its experiments."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlencode

import gradio as gr

from app import views
from app.form import check_evaluations
from app.maths.book import CHAPTERS
from app.maths.chapter import Chapter, Control, Experiment, Part, Parts, Upload
from app.maths.scene import Scene
from app.maths.words import ChapterWords, chapter_words
from app.messages import Refusal, explain
from app.runs import at_the_desk, streamed
from app.shop import Shop
from app.stage import plan_line, words
from app.tabs.events import NETWORK_EVENT, PRIVATE, failure
from app.tabs.recipe import AsSent, noted_link, page_address, query_fields, uploaded
from app.tabs.run_controls import RunControls
from app.texts import DEFAULT, in_each, known_language, say, say_name
from app.vega import Chart
from diffusion.recipe import to_query

LATEX = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "$", "right": "$", "display": False},
]
SHOW_SECONDS = 0.5  # between two looks at a run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """A run of an experiment at a moment; see app.runs.streamed."""

    state: Literal["running", "done", "stopped"]
    done: int
    of: int
    seconds: float
    parts: Parts

    @property
    def seconds_left(self) -> float:
        return self.seconds / self.done * (self.of - self.done) if self.done else 0.0


class Bench:
    """An experiment's components. A plot has a line of its own below it, with its numbers as CSV."""

    def __init__(self, chapter: Chapter, experiment: Experiment):
        self.chapter, self.experiment = chapter, experiment
        text = chapter_words(chapter.name, DEFAULT)
        self.see = _markdown(text.sections[f"see {experiment.name}"])
        self.controls: dict[str, gr.components.Component] = {}
        if experiment.controls:
            with gr.Row(elem_classes="dials"):
                for control in experiment.controls:
                    self.controls[control.name] = _component(control, text)
        self.start = self.stop = self.progress = None
        if experiment.run is not None:
            with gr.Row(elem_classes="go"):
                self.start = gr.Button(say(DEFAULT, "maths.run"), variant="primary", scale=3)
                self.stop = gr.Button(say(DEFAULT, "buttons.stop"), interactive=False, scale=1)
            self.progress = gr.HTML(apply_default_css=False)
        self.said = gr.HTML(apply_default_css=False)
        self.parts: list[gr.components.Component] = []
        with gr.Row(elem_classes=["wide" if experiment.wide else "parts"]):
            for part in experiment.parts:
                with gr.Column(min_width=280):
                    self._part(part)

    def _part(self, part: Part) -> None:
        if part == "plot":
            self.parts.append(gr.Plot(show_label=False, container=False, elem_classes="figure"))
            self.parts.append(gr.HTML(apply_default_css=False))
        else:
            self.parts.append(gr.HTML(apply_default_css=False) if part == "html" else _markdown(""))

    @property
    def shown(self) -> list:
        """The outputs of `show`."""
        return [self.said, *self.parts]

    @property
    def buttons(self) -> list:
        return [] if self.start is None else [self.start, self.stop]

    @property
    def worded(self) -> list:
        """The outputs of `rewrite`."""
        return [self.see, *self.controls.values(), *self.buttons]

    def rewrite(self, language: str, values: dict, scene: Scene | None) -> list:
        """Words, limits and values of the controls."""
        text = chapter_words(self.chapter.name, language)
        updates: list = [text.sections[f"see {self.experiment.name}"]]
        for control in self.experiment.controls:
            update = {"label": text.say(control.name)}
            if isinstance(control, Upload):
                updates.append(gr.update(**update))
                continue
            if control.choices:
                update["choices"] = _choices(control, text)
            elif scene is not None:
                update["minimum"], update["maximum"] = control.limits(scene)
            updates.append(gr.update(**update, value=control.fitted(values[control.name], scene)))
        if self.buttons:
            updates += [gr.update(value=say(language, "maths.run")), gr.update(value=say(language, "buttons.stop"))]
        return updates

    def show(self, language: str, scene: Scene, values: dict) -> list:
        """What the experiment shows at once. Never raises: what is wrong with a value stands above the parts."""
        text = chapter_words(self.chapter.name, language)

        def shown() -> list:
            parts = self.experiment.show(scene, self.checked(values, scene), text.say)
            return ["", *_rendered(parts, self.experiment, language)]

        try:
            return at_the_desk(shown)
        except ValueError as error:
            said = _explain(error, language, text)
        except Exception:
            logger.exception("an experiment could not be shown")
            said = say(language, "errors.server")
        return [plan_line(said, is_error=True), *[gr.skip()] * len(self.parts)]

    def checked(self, values: dict, scene: Scene) -> dict:
        """The controls' values as the experiment takes them. Raises ValueError naming the control."""
        checked = {}
        for control in self.experiment.controls:
            value = values[control.name]
            if isinstance(control, Upload) and value is not None:
                value = uploaded(value)
            checked[control.name] = control.checked(value, scene)
        return checked


class MathsTab:
    """The tab's components and handlers. generate: the controls whose checkpoint and schedule the chapters follow."""

    def __init__(self, shop: Shop, language: gr.Radio, generate: RunControls):
        self.shop, self.language, self.generate = shop, language, generate
        self.benches: dict[str, list[Bench]] = {}
        self._lay_out()
        self._wire()

    # Layout ----------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        with gr.Row(elem_id="maths"):
            with gr.Column(scale=2, min_width=220, elem_id="contents"):
                self.chapter = gr.Radio(
                    _titles(DEFAULT), value=None, label=say(DEFAULT, "maths.contents"), elem_id="chapters"
                )
                self.about = gr.HTML(apply_default_css=False)
            with gr.Column(scale=9, min_width=300, elem_id="chapter"):
                self.columns, self.heads, self.tails = [], [], []
                for chapter in CHAPTERS:
                    with gr.Column(visible=False, elem_classes="prose") as column:
                        self._lay_out_chapter(chapter)
                    self.columns.append(column)
                with gr.Row(elem_classes="go"):
                    self.back = gr.Button(say(DEFAULT, "maths.back"), size="sm")
                    self.forth = gr.Button(say(DEFAULT, "maths.forth"), size="sm", variant="primary")
                self.link = gr.HTML(apply_default_css=False)

    def _lay_out_chapter(self, chapter: Chapter) -> None:
        text = chapter_words(chapter.name, DEFAULT)
        self.heads.append(_markdown(_head(chapter, text)))
        self.benches[chapter.name] = [Bench(chapter, experiment) for experiment in chapter.experiments]
        self.tails.append(_markdown(text.sections["tutorial"], elem_classes="tutorial"))

    # Events ----------------------------------------------------------------------------------------------------------

    @property
    def every_bench(self) -> list[Bench]:
        return [bench for chapter in CHAPTERS for bench in self.benches[chapter.name]]

    @property
    def dials(self) -> list:
        """The controls of all experiments."""
        return [control for bench in self.every_bench for control in bench.controls.values()]

    @property
    def inputs(self) -> list:
        """Language, Generate's controls, the chapter, and every experiment's controls."""
        return [self.language, *self.generate.controls.values(), self.chapter, *self.dials]

    @property
    def around(self) -> list:
        return [self.chapter, self.about, self.back, self.forth, self.link]

    @property
    def whole(self) -> list:
        """The outputs of `turn`."""
        chapters = []
        for number, chapter in enumerate(CHAPTERS):
            chapters += [self.columns[number], self.heads[number], self.tails[number]]
            for bench in self.benches[chapter.name]:
                chapters += [*bench.worded, *bench.shown]
        return [*self.around, *chapters]

    @property
    def opened(self) -> list:
        """The outputs of `open`."""
        return [self.chapter, *self.dials]

    def wire_turn(self, event) -> None:
        """After an event that opens the page or changes its language: the open chapter, if there is one."""
        event.then(self.turn, self.inputs, self.whole, preprocess=False, **PRIVATE)

    def wire_select(self, tab: gr.Tab) -> None:
        """The tab is opened: its chapter follows what Generate has chosen by now."""
        tab.select(self.enter, self.inputs, self.whole, preprocess=False, **PRIVATE)

    def _wire(self) -> None:
        raw = {"preprocess": False, **PRIVATE}
        top = "() => document.querySelector('#maths').scrollIntoView()"
        self.chapter.input(self.turn, self.inputs, self.whole, **raw)
        self.back.click(self._step(-1), self.inputs, self.whole, **raw).then(None, None, None, js=top, **PRIVATE)
        self.forth.click(self._step(1), self.inputs, self.whole, **raw).then(None, None, None, js=top, **PRIVATE)
        for bench in self.every_bench:
            self._wire_bench(bench, raw)

    def _wire_bench(self, bench: Bench, raw: dict) -> None:
        inputs = [self.language, *self.generate.controls.values(), *bench.controls.values()]
        edits, live = [], []
        for control in bench.experiment.controls:
            component = bench.controls[control.name]
            edits.append(component.input if isinstance(component, gr.Radio) else component.change)
            live += edits[-1:] if control.live else []
        if live:
            gr.on(live, self._try(bench), inputs, bench.shown, trigger_mode="always_last", **raw)
        if edits:
            gr.on(edits, self.relink, self.inputs, self.link, trigger_mode="always_last", **raw)
        if bench.start is None:
            return
        dials = [*bench.buttons, *bench.controls.values()]
        go = [bench.progress, *dials]
        begun = bench.start.click(self._begin(bench), inputs, go, **raw | {"queue": True, "concurrency_limit": None})
        run = begun.success(self._run(bench), inputs, [bench.progress, *bench.parts], preprocess=False, **NETWORK_EVENT)
        run.then(self._end(bench), None, dials, **PRIVATE)
        bench.stop.click(self.halt, None, bench.stop, **PRIVATE)

    # Handlers --------------------------------------------------------------------------------------------------------

    def open(self, query: str = "") -> list:
        """The page is opened: at a chapter where the link says so, with the experiments' values that it names."""
        try:
            fields = query_fields(query)
        except ValueError:
            fields = {}
        chapter = self._linked_chapter(fields)
        values = []
        for bench in self.every_bench:
            for control in bench.experiment.controls:
                key = _key(bench, control)
                asked = isinstance(control, Control) and chapter == bench.chapter.name and key in fields
                values.append(gr.update(value=control.parsed(fields[key])) if asked else gr.skip())
        return [gr.update(value=chapter), *values]

    def _linked_chapter(self, fields: dict[str, str]) -> str | None:
        if fields.get("tab") != "maths":
            return None
        return next((one.name for one in CHAPTERS if str(one.number) == fields.get("chapter")), CHAPTERS[0].name)

    def enter(self, request: gr.Request, language, *sent) -> list:
        """The tab was opened."""
        return self._turned(request, language, sent, lambda name: name or CHAPTERS[0].name)

    def turn(self, request: gr.Request, language, *sent) -> list:
        """Another chapter was chosen, or this one is to be shown anew."""
        return self._turned(request, language, sent, lambda name: name)

    def _step(self, by: int):
        def step(request: gr.Request, language, *sent) -> list:
            """To the chapter before, or the one after."""
            return self._turned(request, language, sent, lambda name: _neighbour(name, by))

        return step

    def _turned(self, request: gr.Request, language, sent: tuple, choose) -> list:
        language = known_language(language)
        generate, name, values = self._sent(sent)
        name = choose(name if name in self.benches else None)
        try:
            scene = Scene.of(self.shop, generate)
            about = _about(language, scene)
        except ValueError as error:
            scene, about = None, plan_line(explain(error, language), is_error=True)
        around = self._around(request, language, scene, about, name, values)
        if name is None:
            return [*around, *[gr.skip()] * (len(self.whole) - len(around))]
        shown = []
        for chapter in CHAPTERS:
            benches = self.benches[chapter.name]
            if chapter.name != name:
                count = 2 + sum(len(bench.worded) + len(bench.shown) for bench in benches)
                shown += [gr.update(visible=False), *[gr.skip()] * count]
                continue
            text = chapter_words(name, language)
            shown += [gr.update(visible=True), _head(chapter, text), text.sections["tutorial"]]
            for bench in benches:
                shown += bench.rewrite(language, values[id(bench)], scene)
                fitted = {c.name: c.fitted(values[id(bench)][c.name], scene) for c in bench.experiment.controls}
                shown += [gr.skip()] * len(bench.shown) if scene is None else bench.show(language, scene, fitted)
        return [*around, *shown]

    def _around(
        self, request: gr.Request, language: str, scene: Scene | None, about: str, name: str | None, values: dict
    ) -> list:
        place = [chapter.name for chapter in CHAPTERS].index(name) if name else 0
        return [
            gr.update(choices=_titles(language), value=name, label=say(language, "maths.contents")),
            about,
            gr.update(value=say(language, "maths.back"), interactive=place > 0),
            gr.update(value=say(language, "maths.forth"), interactive=place < len(CHAPTERS) - 1),
            self._link(request, language, scene, name, values) if name else "",
        ]

    def relink(self, request: gr.Request, language, *sent) -> str:
        """A control of an experiment was moved: the link follows."""
        generate, name, values = self._sent(sent)
        if name not in self.benches:
            return ""
        return self._link(request, known_language(language), self._scene(generate), name, values)

    def _scene(self, generate: dict) -> Scene | None:
        try:
            return Scene.of(self.shop, generate)
        except ValueError:
            return None

    def _link(self, request: gr.Request, language: str, scene: Scene | None, name: str, values: dict) -> str:
        if scene is None:
            return ""
        fields = [("tab", "maths"), ("chapter", str(int(name.split("-")[0])))]
        for bench in self.benches[name]:
            for control in bench.experiment.controls:
                if isinstance(control, Control) and values[id(bench)][control.name] != control.value:
                    fields.append((_key(bench, control), str(values[id(bench)][control.name])))
        fields += parse_qsl(to_query(scene.plan.settings))
        return noted_link(f"{page_address(request)}?{urlencode(fields)}", say(language, "maths.link"))

    def _sent(self, sent: tuple) -> tuple[dict, str | None, dict[int, dict]]:
        """Generate's values, the chapter, and every experiment's values, by the identity of its bench."""
        count = len(self.generate.controls)
        generate, name, dials = self.generate.values(sent[:count]), sent[count], iter(sent[count + 1 :])
        values = {id(bench): {key: next(dials) for key in bench.controls} for bench in self.every_bench}
        return generate, name if isinstance(name, str) else None, values

    def _of_bench(self, bench: Bench, sent: tuple) -> tuple[dict, dict]:
        count = len(self.generate.controls)
        return self.generate.values(sent[:count]), dict(zip(bench.controls, sent[count:], strict=True))

    def _try(self, bench: Bench):
        def try_it(language, *sent) -> list:
            """A control of an experiment was moved."""
            generate, values = self._of_bench(bench, sent)
            scene = self._scene(generate)
            return (
                [gr.skip()] * len(bench.shown) if scene is None else bench.show(known_language(language), scene, values)
            )

        return try_it

    def _begin(self, bench: Bench):
        def begin(request: gr.Request, language, *sent) -> tuple:
            """Run was pressed: refuse at once what cannot run, else say that it is coming."""
            language = known_language(language)
            try:
                scene, values = self._ready(bench, sent)
                calls, pictures = bench.experiment.calls(scene, values)
                check_evaluations(self.shop.options, calls * pictures)
            except ValueError as error:
                raise failure(_explain(error, language, chapter_words(bench.chapter.name, language))) from None
            seconds = self.shop.pace.seconds_of(scene.checkpoint.name, calls, calls * pictures)
            before = self.shop.stand_in_line(request.session_hash, seconds or 0.0)
            # The dials rest while it runs: another picture above these numbers would be a lie
            off = [gr.update(interactive=False)] * len(bench.controls)
            return views.waiting(before, language), gr.update(interactive=False), gr.update(interactive=True), *off

        return begin

    def _ready(self, bench: Bench, sent: tuple) -> tuple[Scene, dict]:
        generate, values = self._of_bench(bench, sent)
        scene = Scene.of(self.shop, generate)
        return scene, bench.checked(values, scene)

    def _run(self, bench: Bench):
        def run(request: gr.Request, language, *sent) -> Iterator[tuple]:
            """The experiment on the network, a few looks at it; holds the network until it ends."""
            language, session = known_language(language), request.session_hash
            text = chapter_words(bench.chapter.name, language)
            self.shop.line.begin(session)
            try:
                scene, values = self._ready(bench, sent)
                for look in streamed(
                    lambda is_stopped: _looks(bench, scene, values, text, is_stopped),
                    lambda: self.shop.stop_signs.is_up(session),
                ):
                    progress = views.progress_sentence(
                        look.state, look.done, look.of, look.seconds, look.seconds_left, language
                    )
                    yield progress, *_rendered(look.parts, bench.experiment, language)
            except ValueError as error:
                yield views.status("failed", language), *[gr.skip()] * len(bench.parts)
                raise failure(_explain(error, language, text)) from None
            except Exception:
                logger.exception("an experiment failed")
                yield views.status("failed", language), *[gr.skip()] * len(bench.parts)
                raise failure(say(language, "errors.server")) from None

        return run

    def _end(self, bench: Bench):
        def end(request: gr.Request) -> tuple:
            """A run is over, one way or the other."""
            self.shop.line.leave(request.session_hash)
            on = [gr.update(interactive=True)] * len(bench.controls)
            return gr.update(interactive=True), gr.update(interactive=False), *on

        return end

    def halt(self, request: gr.Request):
        """Stop was pressed: the run ends after the step at hand, and shows what it has."""
        self.shop.stop_signs.put_up(request.session_hash)
        return gr.update(interactive=False)


def _about(language: str, scene: Scene) -> str:
    """Which checkpoint and schedule the chapters are on."""
    betas = scene.schedule.betas
    places = {
        "checkpoint": say_name(language, "checkpoints", scene.checkpoint.name),
        "T": scene.T, "first": f"{betas[0]:.3g}", "last": f"{betas[-1]:.3g}",
    }  # fmt: skip
    return f'<p class="note">{say(language, "maths.about", **places)}</p>'


def _looks(bench: Bench, scene: Scene, values: dict, text: ChapterWords, is_stopped) -> Iterator[Look]:
    start, shown = time.monotonic(), float("-inf")
    for stage in bench.experiment.run(scene, values, text.say):
        state = "done" if stage.done == stage.of else "stopped" if is_stopped() else "running"
        now = time.monotonic()
        if state != "running" or now - shown >= SHOW_SECONDS:
            shown = now
            yield Look(state, stage.done, stage.of, now - start, stage.make())
        if state == "stopped":
            return


def _rendered(parts: Parts, experiment: Experiment, language: str) -> list:
    updates: list = []
    for kind, part in zip(experiment.parts, parts, strict=True):
        if part is None:
            updates += [gr.skip()] * (2 if kind == "plot" else 1)
        elif isinstance(part, Chart):
            csv = words(in_each(lambda language: say(language, "plots.csv")))
            name = f"ddpm-lab-{experiment.name}.csv"
            updates += [part.plot, f'<p class="note"><a href="{part.csv}" download="{name}">{csv}</a></p>']
        else:
            updates.append(part)
    return updates


def _markdown(text: str, **more) -> gr.Markdown:
    return gr.Markdown(text, latex_delimiters=LATEX, **more)


def _component(control: Control | Upload, text: ChapterWords) -> gr.components.Component:
    label = text.say(control.name)
    if isinstance(control, Upload):
        file = gr.File(label=label, file_types=["image"], height=110, min_width=200)
        file.data_model = AsSent
        return file
    if control.choices:
        return gr.Radio(_choices(control, text), value=control.value, label=label, min_width=200)
    most = 1000 if control.maximum is None else control.maximum
    limits = {"minimum": control.minimum, "maximum": most, "step": control.step}
    return gr.Slider(value=control.value, label=label, buttons=[], min_width=200, **limits)


def _choices(control: Control, text: ChapterWords) -> list[tuple[str, str]]:
    return [(text.words.get(f"{control.name}.{choice}", choice), choice) for choice in control.choices]


def _titles(language: str) -> list[tuple[str, str]]:
    titles = ((chapter.number, chapter_words(chapter.name, language).title, chapter.name) for chapter in CHAPTERS)
    return [(f"{number}. {title}", name) for number, title, name in titles]


def _head(chapter: Chapter, text: ChapterWords) -> str:
    return f"# {chapter.number}. {text.title}\n\n> {text.sections['claim']}\n\n{text.sections['text']}"


def _neighbour(name: str | None, by: int) -> str:
    names = [chapter.name for chapter in CHAPTERS]
    place = names.index(name) + by if name else 0
    return names[min(max(place, 0), len(names) - 1)]


def _key(bench: Bench, control: Control) -> str:
    """A control's name in a link."""
    return f"{bench.experiment.name}.{control.name}"


def _explain(error: ValueError, language: str, text: ChapterWords) -> str:
    """An error with the chapter's own word for the control that it names."""
    if isinstance(error, Refusal):
        return explain(error, language)
    field, _, problem = str(error).partition(": ")
    return explain(ValueError(f"{text.words.get(field, field)}: {problem}" if problem else str(error)), language)
