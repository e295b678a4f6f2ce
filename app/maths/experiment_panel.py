"""One experiment of a chapter on the page: its components, laid out with a result in them, and its events."""

import logging
from collections.abc import Iterator

import gradio as gr

from app.maths.chapter import Chapter, Control, Experiment, Part, Parts, Upload
from app.maths.pages import Page, chapter_link, control_key, keyed, markdown
from app.maths.scene import Scene
from app.maths.words import ChapterWords
from app.server.jobs import JobEvents, QueuedJob
from app.server.limits import check_evaluations
from app.server.network import in_cpu_thread
from app.server.services import Services
from app.texts import in_each, say
from app.texts.messages import explain
from app.ui.charts import Chart
from app.ui.events import PRIVATE, UNCHANGED, Component, Sent, Shown
from app.ui.html import plan_line, words
from app.ui.progress import Progress
from app.ui.upload import AsSent, uploaded

SHOW_SECONDS = 0.5  # between two updates of a run

logger = logging.getLogger(__name__)


class ExperimentPanel:
    """An experiment's components and handlers.

    control_values: the values that the visitor has set in all experiments, by `control_key`; other controls are at
    their defaults. link: of the chapter. Both follow the controls. Below each plot, a link saves its numbers as CSV.
    """

    def __init__(
        self,
        services: Services,
        page: Page,
        chapter: Chapter,
        experiment: Experiment,
        control_values: gr.State,
        link: gr.HTML,
    ):
        self.services, self.page, self.chapter, self.experiment = services, page, chapter, experiment
        self.control_values, self.link = control_values, link
        self.controls: dict[str, gr.components.Component] = {}
        self.start = self.stop = self.progress = self.result = None
        self.parts: list[gr.components.Component] = []

    # Layout ----------------------------------------------------------------------------------------------------------

    def lay_out(self, scene: Scene | None, control_values: dict) -> None:
        """Lay it out with these values in its controls, and with the result for them."""
        text, experiment = self.page.text, self.experiment
        values, said = self._fitted(scene, control_values)
        told, parts = ("", [None] * self._count) if scene is None else self._shown(scene, values)
        own = f"experiment-of-{experiment.name}"  # by which run_keys.js knows what belongs together
        markdown(text.sections[f"see {experiment.name}"], **self._keyed("see"))
        if experiment.controls:
            with gr.Row(elem_classes=["experiment-controls", own], **self._keyed("row of controls")):
                for control in experiment.controls:
                    value = values[control.name]
                    self.controls[control.name] = self._control(control, text, value, scene)
        if experiment.run is not None:
            with gr.Row(elem_classes=["go", own], **self._keyed("row of buttons")):
                run, stop = (say(self.page.language, key) for key in ("maths.run", "buttons.stop"))
                keys = self._keyed("start"), self._keyed("stop")
                self.start = gr.Button(run, variant="primary", scale=3, interactive=scene is not None, **keys[0])
                self.stop = gr.Button(stop, interactive=False, scale=1, **keys[1])
            self.progress = self._html("", "progress", elem_id=f"{experiment.name}-progress")
        self.said = self._html(said or told, "said")
        values_of_parts = iter(parts)
        classes, own_id = ["wide" if experiment.wide else "parts", own], f"{experiment.name}-result"
        with gr.Row(elem_classes=classes, elem_id=own_id, **self._keyed("parts")) as self.result:
            for number, part in enumerate(experiment.parts):
                with gr.Column(min_width=280, **self._keyed("column", number)):
                    self._part(part, number, values_of_parts)

    @property
    def _count(self) -> int:
        """The number of components of its parts."""
        return sum(2 if part == "plot" else 1 for part in self.experiment.parts)

    def _part(self, part: Part, number: int, values: Iterator) -> None:
        name = f"part {number}"
        if part == "plot":
            more = {"show_label": False, "container": False, "elem_classes": "figure"}
            self.parts.append(gr.Plot(next(values), **more, **self._keyed(name)))
            self.parts.append(self._html(next(values), f"{name} csv"))
        elif part == "html":
            self.parts.append(self._html(next(values), name))
        else:
            self.parts.append(markdown(next(values) or "", **self._keyed(name)))

    def _html(self, value: str | None, name: str, **more) -> gr.HTML:
        return gr.HTML(value or "", apply_default_css=False, **more, **self._keyed(name))

    def _keyed(self, *name: str | int) -> dict:
        return keyed(self.chapter.name, self.experiment.name, *name)

    def _control(self, control: Control | Upload, text: ChapterWords, value, scene: Scene | None):
        more = {"label": text.say(control.name), "min_width": 200, "interactive": True} | self._keyed(
            "control", control.name
        )
        if isinstance(control, Upload):
            file = gr.File(file_types=["image"], height=110, **more | {"preserved_by_key": ["value"]})
            file.data_model = AsSent
            return file
        if control.choices:
            choices = [(text.words.get(f"{control.name}.{choice}", choice), choice) for choice in control.choices]
            return gr.Radio(choices, value=value, **more)
        least, most = (control.minimum, control.maximum or 1000) if scene is None else control.limits(scene)
        return gr.Slider(least, most, value, step=control.step, buttons=[], **more)

    def _fitted(self, scene: Scene | None, control_values: dict) -> tuple[dict, str]:
        """Return the controls' values, with defaults in place of wrong ones, and what is wrong ("" for nothing)."""
        values, said = {}, ""
        for control in self.experiment.controls:
            value = control.fitted(control_values.get(control_key(self.experiment, control), control.value), scene)
            try:
                if scene is not None:
                    self._checked(control, value, scene)
            except ValueError as error:
                said = plan_line(self.explain(error, self.page.language), is_error=True)
                value = control.fitted(control.value, scene)
            values[control.name] = value
        return values, said

    # Events ----------------------------------------------------------------------------------------------------------

    def wire(self) -> None:
        """Connect the handlers."""
        live, still = [], []
        for control in self.experiment.controls:
            component = self.controls[control.name]
            event = component.input if isinstance(component, gr.Radio) else component.change
            (live if control.live else still).append(event)
        controls, raw = set(self.controls.values()), {"preprocess": False, **PRIVATE}
        noted = {self.control_values, self.link}
        for events, handler, outputs in ((live, self.edit, noted | self.shown), (still, self.note, noted)):
            if events:
                gr.on(events, handler, {self.control_values} | controls, outputs, trigger_mode="always_last", **raw)
        if self.start is None:
            return
        # The controls are disabled while it runs: a changed control would not belong to the numbers below it
        events = JobEvents(
            self.services, "maths", [self.start], self.stop, self.progress,
            language=lambda _: self.page.language, resting=controls, explained=self.explain,
        )  # fmt: skip
        events.wire(self.start, self.plan_job, controls, {*self.parts}, self.result, is_rendered=True)

    @property
    def shown(self) -> set[Component]:
        """The outputs of `show`."""
        return {self.said, *self.parts}

    def values(self, sent: Sent) -> dict:
        """Map each control's name to the value sent for it."""
        return {name: sent[control] for name, control in self.controls.items()}

    # Handlers --------------------------------------------------------------------------------------------------------

    def show(self, scene: Scene, values: dict) -> Shown:
        """Show the experiment for these values. Never raises: a message above the parts says what is wrong."""
        said, parts = self._shown(scene, values)
        return {self.said: said} | self._in_place(parts)

    def _in_place(self, rendered: list) -> Shown:
        """Map the parts' components to their new values; None leaves a component as it is."""
        return {part: value for part, value in zip(self.parts, rendered, strict=True) if value is not None}

    def _shown(self, scene: Scene, values: dict) -> tuple[str, list]:
        """Return what is wrong with the values ("" for nothing), and the components' new values (None: unchanged)."""

        def shown() -> tuple[str, list]:
            return "", self._rendered(self.experiment.show(scene, self.checked(values, scene), self.page.text.say))

        try:
            return in_cpu_thread(shown)
        except ValueError as error:
            said = self.explain(error, self.page.language)
        except Exception:
            logger.exception("Could not show an experiment")
            said = say(self.page.language, "errors.server")
        return plan_line(said, is_error=True), [None] * self._count

    def checked(self, values: dict, scene: Scene) -> dict:
        """Return the controls' values in the types that the experiment takes. Raises ValueError naming the control."""
        return {one.name: self._checked(one, values[one.name], scene) for one in self.experiment.controls}

    @staticmethod
    def _checked(control: Control | Upload, value, scene: Scene):
        if isinstance(control, Upload) and value is not None:
            value = uploaded(value)
        return control.checked(value, scene)

    def edit(self, request: gr.Request, sent: Sent) -> Shown:
        """Show the experiment again after a live control was changed."""
        scene = self.page.scene(self.services)
        if scene is None:
            return UNCHANGED
        values = self.values(sent)
        return self._noted(request, scene, sent[self.control_values], values) | self.show(scene, values)

    def note(self, request: gr.Request, sent: Sent) -> Shown:
        """Note the change of a control that is not live; the parts stay."""
        scene = self.page.scene(self.services)
        noted = scene and self._noted(request, scene, sent[self.control_values], self.values(sent))
        return noted or UNCHANGED

    def _noted(self, request: gr.Request, scene: Scene, control_values: dict, values: dict) -> Shown:
        """Return the updated control_values and link; no update if a value is wrong."""
        try:
            self.checked(values, scene)
        except ValueError:
            return {}
        for control in self.experiment.controls:
            key, value = control_key(self.experiment, control), values[control.name]
            control_values = {name: known for name, known in control_values.items() if name != key}
            if value != control.value:
                control_values[key] = value
        return {
            self.control_values: control_values,
            self.link: chapter_link(request, self.page, self.chapter, scene, control_values),
        }

    def plan_job(self, request: gr.Request, sent: Sent) -> QueuedJob[Parts]:
        """Plan the job of the Run button. Raises ValueError if a value is wrong or the job costs too much."""
        scene = Scene.of(self.services, self.page.generate)
        values = self.checked(self.values(sent), scene)
        calls, pictures = self.experiment.calls(scene, values)
        check_evaluations(self.services.options, calls * pictures)
        seconds = self.services.latency.seconds_of(scene.checkpoint.name, calls, calls * pictures)

        def show(progress: Progress[Parts]) -> Shown:
            return self._in_place(self._rendered(progress.content))

        return QueuedJob(
            self.page.language,
            lambda: self.experiment.run(scene, values, self.page.text.say),
            show,
            seconds or 0.0,
            SHOW_SECONDS,
        )

    def explain(self, error: ValueError, language: str) -> str:
        """Explain an error, using the chapter's own word for the control that it names."""
        return explain(error, language, self.page.text.words)

    def _rendered(self, parts: Parts) -> list:
        """Return the new value of each component of the parts; None leaves it as it is."""
        updates: list = []
        for kind, part in zip(self.experiment.parts, parts, strict=True):
            if part is None:
                updates += [None] * (2 if kind == "plot" else 1)
            elif isinstance(part, Chart):
                csv = words(in_each(lambda language: say(language, "plots.csv")))
                name = f"ddpm-lab-{self.experiment.name}.csv"
                updates += [part.plot, f'<p class="note"><a href="{part.csv}" download="{name}">{csv}</a></p>']
            else:
                updates.append(part)
        return updates
