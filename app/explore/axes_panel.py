"""The Explore tab's own controls: the preset, the axes and the frontier's settings; and the link to a grid."""

from collections.abc import Callable, Mapping
from html import escape
from urllib.parse import urlencode

import gradio as gr

from app.controls.panel import START_VALUES, RunControls
from app.controls.spec import field_words
from app.controls.values import controls_of, defaults, linked_values, settings_of
from app.explore.grids import (
    AXES,
    DEFAULT_PRESET,
    FRONTIER,
    GRID_PRESETS,
    NO_FIELD,
    NUM_IMAGES,
    example,
    grid_preset_settings,
    preset_axes,
    presets_of,
    values_hint,
)
from app.explore.value_names import pickable, value_names
from app.server.checkpoint_facts import Checkpoint
from app.server.services import Services
from app.texts import DEFAULT, say, say_in_each
from app.ui.events import PRIVATE, UNCHANGED, Component, Sent, Shown
from app.ui.lazy_import import lazy_import
from app.ui.links import noted_link, page_address, query_fields, query_of
from app.ui.marks import Mark
from diffusion.experiments.axes import FIELDS, LEAST_SAMPLES, Axis
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import from_query

sentences = lazy_import("app.controls.sentences")

NAMES = ("preset", *(key for axis in AXES for key in (axis, f"{axis}_values")), *FRONTIER)
IN_LINK = NAMES[1:]
OF_ANY_GRID = ("seed", "num_images", "class_choice")  # of these a preset's words hold, whatever they are
OWN_GRID = "own"  # the preset's value when the axes match no preset
MOST_SAMPLES = 500  # the slider's maximum; the number beside it accepts more


class ExploreControls:
    """Explore's own controls, by name in `own`. Like RunControls, they accept any value that a browser sends."""

    def __init__(self, services: Services):
        self.services = services
        self.own: dict[str, gr.components.Component] = {}
        self.picks: dict[str, gr.Dropdown] = {}  # by axis: the same values as its text box, to be picked

    # Layout ----------------------------------------------------------------------------------------------------------

    def lay_out_preset(self) -> None:
        """Lay out the preset dropdown and its hint."""
        choices = [(say(DEFAULT, f"grids.{name}.title"), name) for name in GRID_PRESETS]
        self.own["preset"] = gr.Dropdown(
            choices, value=DEFAULT_PRESET, label=say(DEFAULT, "explore.preset"), filterable=False
        )
        self.hint = gr.HTML(apply_default_css=False)

    def lay_out_axes(self) -> None:
        """Lay out a dropdown for the field and a text box for its values, for each of the three axes."""
        values = preset_axes(DEFAULT_PRESET)
        with gr.Row(elem_classes="axes"):
            for axis in AXES:
                with gr.Column(min_width=240):
                    self.own[axis] = gr.Dropdown(
                        [NO_FIELD, *FIELDS], value=values[axis], label=say(DEFAULT, f"explore.{axis}"), filterable=False
                    )
                    self.own[f"{axis}_values"] = gr.Textbox(values[f"{axis}_values"], max_lines=1, label=axis)
                    self.picks[axis] = gr.Dropdown(
                        [], value=[], multiselect=True, filterable=False, visible=False, label=axis
                    )

    def lay_out_frontier(self) -> None:
        """Lay out what the frontier measures: step counts, samplers and number of samples."""
        with gr.Row(elem_classes="seeds"):
            for name in ("frontier_steps", "frontier_etas"):
                self.own[name] = gr.Textbox(FRONTIER[name], max_lines=1, label=name, min_width=120)
        label, value = say(DEFAULT, "explore.frontier_samples"), FRONTIER["frontier_samples"]
        self.own["frontier_samples"] = gr.Slider(LEAST_SAMPLES, MOST_SAMPLES, value, step=10, buttons=[], label=label)

    # What events need ------------------------------------------------------------------------------------------------

    @property
    def texts(self) -> list:
        """The change events of the text boxes and the slider."""
        return [self.own[name].change for name in NAMES if name.endswith("_values") or name in FRONTIER]

    @property
    def worded(self) -> set[Component]:
        """The outputs of `rewrite`."""
        return {self.own[name] for name in IN_LINK} | {*self.picks.values()}

    def wire_picks(self, inputs: set[Component], form: RunControls, language_of: Callable[[Sent], str]) -> None:
        """Write what is picked into the text box, and pick what is typed there. form: has the axes' checkpoint."""
        for axis, picks in self.picks.items():
            text = self.own[f"{axis}_values"]
            picks.input(None, picks, text, js="(picked) => picked.join(', ')", **PRIVATE)
            how = {"trigger_mode": "always_last", "preprocess": False, **PRIVATE}
            text.change(self._typed(axis, form, language_of), inputs | {picks}, {picks}, **how)

    def _typed(self, axis: str, form: RunControls, language_of: Callable[[Sent], str]) -> Callable[[Sent], Shown]:
        def typed(sent: Sent) -> Shown:
            checkpoint = self.services.checkpoint(form.values(sent)["checkpoint"])
            props = self.picks_props(axis, self.values(sent), checkpoint, language_of(sent))
            picks = self.picks[axis]
            # What was picked isn't sent back: on a slow machine that would undo the next pick
            return UNCHANGED if sent[picks] == props["value"] else {picks: gr.update(**props)}

        return typed

    def picks_props(self, axis: str, own: Mapping, checkpoint: Checkpoint | None, language: str) -> dict:
        """Return choices, visibility and value of an axis's picks, for the field and the values that the axis has."""
        choices = pickable(own[axis], checkpoint, self.services.catalogue, language)
        names = value_names(own[axis], checkpoint, self.services.catalogue)
        try:
            values = Axis.of(axis, own[axis], own[f"{axis}_values"], names).values if choices else ()
        except ValueError:  # what is wrong is said elsewhere
            values = ()
        texts = ["none" if value is None else str(value) for value in values]
        offered = {value for _, value in choices}
        label = say(language, "explore.picks", axis=say(language, f"explore.{axis}"))
        picked = [text for text in texts if text in offered]
        return {"choices": choices, "visible": bool(choices), "value": picked, "label": label}

    def values(self, sent: Sent) -> dict:
        """Map each control's name to the value sent for it."""
        return {name: sent[control] for name, control in self.own.items()}

    def rewrite(self, language: str, own: Mapping, checkpoint: Checkpoint | None, with_values: bool = False) -> Shown:
        """Return updates that put all words in `language`; with_values also sets the controls to those of `own`."""
        fields = [
            (say(language, "explore.nothing"), NO_FIELD),
            *((field_words(name, language), name) for name in FIELDS),
        ]
        props, shown = {}, {}
        for axis in AXES:
            props[axis] = {"label": say(language, f"explore.{axis}"), "choices": fields}
            props[f"{axis}_values"] = self.values_props(axis, own[axis], checkpoint, language)
            shown[self.picks[axis]] = gr.update(**self.picks_props(axis, own, checkpoint, language))
        for name in FRONTIER:
            props[name] = {"label": say(language, f"explore.{name}"), "info": say(language, f"explore.{name}_info")}
        return shown | {
            self.own[name]: gr.update(**props[name], **{"value": own[name]} if with_values else {}) for name in IN_LINK
        }

    def rewrite_axis(self, language: str, axis: str, own: Mapping, checkpoint: Checkpoint | None) -> Shown:
        """Return updates of an axis's values and picks after another field was put on it."""
        props = self.values_props(axis, own[axis], checkpoint, language) | {"value": own[f"{axis}_values"]}
        picks = self.picks_props(axis, own, checkpoint, language)
        return {self.own[f"{axis}_values"]: gr.update(**props), self.picks[axis]: gr.update(**picks)}

    def values_props(self, axis: str, field, checkpoint: Checkpoint | None, language: str) -> dict:
        """Return the label, hint and visibility of an axis's values box while the axis has this field."""
        return {
            "label": say(language, "explore.values", axis=say(language, f"explore.{axis}")),
            "info": values_hint(field, checkpoint, language),
            "visible": field in FIELDS,
        }

    def preset_told(self, language: str, own: Mapping, values: Mapping) -> Shown:
        """Return updates of the preset dropdown and of its hint: the preset that the grid is, if any.

        own: the values of these controls. values: those of the run's controls.
        """
        checkpoint = self.services.checkpoint(values["checkpoint"])
        presets = presets_of(checkpoint)
        preset = next((name for name in presets if self._is_preset(name, own, values, checkpoint)), OWN_GRID)
        choices = [(say(language, f"grids.{name}.title"), name) for name in (*presets, OWN_GRID)]
        hints = [say(language, f"grids.{preset}.see")]
        if preset == OWN_GRID and (shared := self._shared(own, values, checkpoint, language)):
            hints.append(say(language, "grids.shared", settings=" · ".join(shared)))
        hint = "".join(f'<p class="hint">{escape(one)}</p>' for one in hints)
        label = say(language, "explore.preset")
        return {self.own["preset"]: gr.update(choices=choices, value=preset, label=label), self.hint: hint}

    def _is_preset(self, preset: str, own: Mapping, values: Mapping, checkpoint: Checkpoint | None) -> bool:
        """Whether a grid has the axes of a preset, and its settings in all cells but for what any grid may choose."""
        if not preset_axes(preset).items() <= own.items():
            return False
        if checkpoint is None:
            return True
        free = {"checkpoint", *OF_ANY_GRID, *(own[axis] for axis in AXES)}
        try:
            shown = controls_of(settings_of(values, checkpoint, self.services.options), checkpoint)
        except ValueError:  # what is wrong is said elsewhere
            shown = dict(values)
        usual = self.of_preset(preset, checkpoint.name)[1]
        return all(shown[name] == value for name, value in usual.items() if name not in free)

    def _shared(self, own: Mapping, values: Mapping, checkpoint: Checkpoint | None, language: str) -> list[str]:
        """Return what is unusual in all cells of a grid, in words."""
        if checkpoint is None:
            return []
        on_axes = {own[axis] for axis in AXES}
        try:
            usual = {"checkpoint": checkpoint.name} | defaults(checkpoint, self.services.options)
            left = {name: usual[name] if name in on_axes else value for name, value in values.items()}
            return sentences.unusual(settings_of(left, checkpoint, self.services.options), checkpoint, language)
        except ValueError:  # what is wrong is said elsewhere
            return []

    def of_preset(self, preset: str, name: str | None) -> tuple[dict, dict]:
        """Return the values of these controls and of the run's controls for a preset on a checkpoint."""
        checkpoint = self.services.checkpoint(name)
        own = {"preset": preset} | preset_axes(preset) | FRONTIER
        if checkpoint is None:
            return own, {"checkpoint": None} | START_VALUES
        count = min(NUM_IMAGES, self.services.options.max_images)
        return own, controls_of(grid_preset_settings(preset, checkpoint, count), checkpoint)

    def with_field(self, own: Mapping, axis: str, checkpoint: Checkpoint | None) -> dict:
        """Return `own` after another field was put on `axis`: the axis gets example values of that field."""
        field = own[axis] if own[axis] in FIELDS else NO_FIELD
        return dict(own) | {axis: field, f"{axis}_values": example(field, checkpoint, self.services.catalogue)}

    # The link --------------------------------------------------------------------------------------------------------

    def link(self, request: gr.Request, own: Mapping, base: SamplingSettings) -> str:
        """Return the HTML of a link to the grid, to copy."""
        query = urlencode([("tab", "explore"), *self._fields(own, base)])
        return noted_link(f"{page_address(request)}?{query}", say_in_each("explore.link"))

    def mark(self, own: Mapping, base: SamplingSettings) -> Mark:
        """Mark the tab with the grid; without it, its address opens DEFAULT_PRESET on the default checkpoint."""
        usual, values = self.of_preset(DEFAULT_PRESET, self.services.catalogue.default())
        home = self.services.checkpoint(values["checkpoint"])
        is_home = home is not None and base == settings_of(values, home, self.services.options)
        is_home = is_home and all(str(own[name]) == str(usual[name]) for name in IN_LINK)
        preset = next((name for name in GRID_PRESETS if preset_axes(name).items() <= own.items()), "")
        return Mark.of("explore", self._fields(own, base), is_home, preset)

    @staticmethod
    def _fields(own: Mapping, base: SamplingSettings) -> list[tuple[str, str]]:
        asked = [(name, str(own[name])) for name in IN_LINK if own[name] not in (NO_FIELD, None)]
        return asked + query_of(base, "base.")

    def linked(self, query: str) -> tuple[dict, dict] | None:
        """Return the values in an address, for these controls and for the run's; None if it describes no grid.

        Raises ValueError naming the field.
        """
        fields = query_fields(query)
        settings = from_query({k.removeprefix("base."): v for k, v in fields.items() if k.startswith("base.")})
        if settings is None and not fields.keys() & {*IN_LINK}:
            return None
        unused = dict.fromkeys(IN_LINK, NO_FIELD)
        own = {"preset": OWN_GRID} | unused | FRONTIER | {k: v for k, v in fields.items() if k in IN_LINK}
        samples = str(own["frontier_samples"])
        if samples.isascii() and samples.isdigit() and len(samples) < 9:
            own["frontier_samples"] = int(samples)
        if settings is None:
            return own, self.of_preset(DEFAULT_PRESET, self.services.catalogue.default())[1]
        return own, linked_values(self.services, settings)
