"""The controls of one run: laid out in parts, with texts, limits and values set together. Several tabs have them."""

import json
from collections.abc import Callable, Collection, Mapping

import gradio as gr

from app.controls.chips import chips_html
from app.controls.codecs import CONTROLS, BetasCodec, trained_betas
from app.controls.spec import checkpoint_props, control_meanings, control_props
from app.controls.values import DEFAULTS as START_VALUES
from app.controls.values import limits_of
from app.server.services import Services
from app.texts import DEFAULT, say
from app.ui.events import PRIVATE, Component, Sent, Shown
from diffusion.samplers.registry import SAMPLERS

# The component of each kind of control. A slider's own reset button would only know the first checkpoint's value
KINDS: dict[str, tuple[Callable, dict]] = {
    "slider": (gr.Slider, {"buttons": []}),
    "number": (gr.Number, {}),
    "radio": (gr.Radio, {}),
    "dropdown": (gr.Dropdown, {"filterable": False}),
    "checkbox": (gr.Checkbox, {}),
}
# Controls that another control hides or greys out, and those that the noise schedule's reset sets
ADAPTED = tuple(name for name, codec in CONTROLS.items() if codec.setting.when or isinstance(codec, BetasCodec))
# Controls that both runs of a comparison share
OF_BOTH = tuple(name for name, codec in CONTROLS.items() if codec.setting.control.group in ("seed", "count"))
# A spacing that is some sampler's default follows the sampler; any other one, chosen by hand or from a link or picture,
# stays
SUITED = "(sampler, spacing) => Object.values(SPACINGS).includes(spacing) ? SPACINGS[sampler] : spacing"


class RunControls:
    """The controls of one run; `controls` holds them by name.

    Handlers take values as the browser sent them (preprocess=False): the settings check them all and report the wrong
    one in the visitor's language, which Gradio's own checks cannot do. shared: controls that were laid out elsewhere
    and belong to this run too.
    """

    def __init__(self, services: Services, shared: Mapping[str, gr.components.Component] | None = None):
        self.services = services
        self.shared = dict(shared or {})
        self.own: dict[str, gr.components.Component] = {}
        self.chips: dict[str, gr.HTML] = {}
        self.groups: dict[str, gr.Accordion] = {}
        self._props = control_props(DEFAULT, None, services.options)
        self._props["checkpoint"] = {"label": say(DEFAULT, "controls.checkpoint.label")}
        self._meanings = control_meanings(START_VALUES, None)

    # Layout ----------------------------------------------------------------------------------------------------------

    def lay_out_basics(self) -> None:
        """Lay out checkpoint, class, sampler and steps."""
        self._lay_out("basics")

    def lay_out_seed(self) -> None:
        """Lay out the seed alone."""
        self._lay_out("seed")

    def lay_out_count(self) -> None:
        """Lay out the number of pictures alone."""
        self._lay_out("count")

    def lay_out_guidance(self) -> None:
        """Lay out the guidance scale alone."""
        self._lay_out("guidance")

    def lay_out_schedule(self) -> None:
        """Lay out the noise schedule, with a button that resets it."""
        with self.group("schedule"):
            self._lay_out("schedule")
            self.reset = gr.Button(say(DEFAULT, "buttons.reset"), size="sm")

    def lay_out_sampler(self) -> None:
        """Lay out the details of the sampler."""
        with self.group("sampler"):
            self._lay_out("sampler")
        sampler, spacing = self.own["sampler"], self.own["timestep_spacing"]
        suited = SUITED.replace("SPACINGS", json.dumps({name: known.spacing for name, known in SAMPLERS.items()}))
        sampler.input(None, [sampler, spacing], spacing, js=suited, trigger_mode="always_last", **PRIVATE)

    def group(self, name: str) -> gr.Accordion:
        """Lay out a closed group, to be filled with controls."""
        self.groups[name] = gr.Accordion(say(DEFAULT, f"groups.{name}"), open=False, elem_classes=f"group-{name}")
        return self.groups[name]

    def _lay_out(self, group: str) -> None:
        """Lay out the controls of a group, in order of their place."""
        controls = [codec for codec in CONTROLS.values() if codec.setting.control.group == group]
        for codec in sorted(controls, key=lambda codec: codec.setting.control.place):
            name, (kind, own) = codec.name, KINDS[codec.setting.control_kind]
            value = {"value": START_VALUES.get(name)}
            self.own[name] = kind(**value | self._props[name] | self._meanings.get(name, {}) | own)
            if codec.setting.control.chips:
                self.chips[name] = gr.HTML(apply_default_css=False)

    # What events need ------------------------------------------------------------------------------------------------

    @property
    def controls(self) -> dict[str, gr.components.Component]:
        """Every control of the run by name."""
        return self.own | self.shared

    @property
    def inputs(self) -> set[Component]:
        """Every control of the run."""
        return set(self.controls.values())

    @property
    def worded(self) -> set[Component]:
        """The components with texts: the outputs of `rewrite`."""
        return {*self.own.values(), *self.chips.values(), *self.groups.values(), self.reset}

    @property
    def adapted(self) -> set[Component]:
        """The controls that depend on others: the outputs of `adapt`."""
        return {self.own[name] for name in ADAPTED if name in self.own}

    @property
    def edits(self) -> list:
        """The change events of every own control except the checkpoint."""
        return [
            control.change if isinstance(control, gr.Slider | gr.Number) else control.input
            for name, control in self.own.items()
            if name != "checkpoint"
        ]

    def values(self, sent: Sent) -> dict:
        """Return the value that was sent for each control, by name."""
        return {name: sent[control] for name, control in self.controls.items()}

    def rewrite(self, language: str, values: dict, with_values: bool | Collection[str] = False) -> Shown:
        """Return all texts in a language. with_values: also set all controls, or those it names, to `values`."""
        checkpoint = self.services.checkpoint(values["checkpoint"])
        props = control_props(language, checkpoint, self.services.options)
        props["checkpoint"] = checkpoint_props(language, self.services.catalogue)
        meanings = control_meanings(values, checkpoint)
        shown: Shown = {}
        for name, control in self.own.items():
            is_set = with_values if isinstance(with_values, bool) else name in with_values
            value = {"value": values[name]} if is_set else {}
            shown[control] = gr.update(**props[name], **meanings.get(name, {}), **value)
        limits = limits_of(checkpoint, self.services.options)
        shown |= {chips: chips_html(CONTROLS[name], limits, language) for name, chips in self.chips.items()}
        for name, group in self.groups.items():
            shown[group] = gr.update(label=say(language, f"groups.{name}"))
        return shown | {self.reset: gr.update(value=say(language, "buttons.reset"))}

    def adapt(self, values: dict, changed: dict | None = None) -> Shown:
        """Hide or grey out controls that do not apply with these values; set the controls in `changed`."""
        meanings = control_meanings(values, self.services.checkpoint(values["checkpoint"]))
        changed = changed or {}
        return {
            self.own[name]: gr.update(**meanings.get(name, {}), **({"value": changed[name]} if name in changed else {}))
            for name in ADAPTED
            if name in self.own
        }

    def trained(self, values: dict) -> dict:
        """Return the trained noise schedule of the checkpoint in `values`; {} if that cannot be used."""
        checkpoint = self.services.checkpoint(values["checkpoint"])
        return trained_betas(checkpoint) if checkpoint else {}
