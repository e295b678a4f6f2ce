"""The list of comparisons that are ready to look at, with a hint on what to see in the chosen one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import gradio as gr

from app.compare.presets import DEFAULT_PRESET, OWN, PRESETS, matching_preset, presets_of
from app.server.checkpoint_facts import Checkpoint
from app.texts import DEFAULT, say
from app.ui.events import Component, Shown
from app.ui.lazy_import import lazy_import

if TYPE_CHECKING:
    from diffusion.settings import SamplingSettings

render = lazy_import("app.compare.render")


class PresetList:
    """The list and its hint, laid out where the object is made."""

    def __init__(self):
        self.chosen = gr.Dropdown(
            [(say(DEFAULT, f"presets.{name}.title"), name) for name in PRESETS],
            value=DEFAULT_PRESET,
            label=say(DEFAULT, "compare.preset"),
            filterable=False,
        )
        self.hint = gr.HTML(apply_default_css=False)

    @property
    def shown(self) -> set[Component]:
        """The outputs of `tell`."""
        return {self.chosen, self.hint}

    def tell(
        self, language: str, checkpoint: Checkpoint | None, runs: "Sequence[SamplingSettings]" = (), titles: str = ""
    ) -> tuple[Shown, str | None]:
        """Return updates for the preset that both runs are, and its name; None if they are none.

        checkpoint: of the first run. runs: their settings; empty if they cannot run. titles: what the runs are in
        words, shown if they are no preset.
        """
        preset = matching_preset(runs, checkpoint) if runs and checkpoint else None
        # Own settings are no choice: a visitor gets there by changing a setting
        names = presets_of(checkpoint) if preset else [*presets_of(checkpoint), OWN]
        choices = [(say(language, f"presets.{name}.title"), name) for name in names]
        label = say(language, "compare.preset")
        return {
            self.chosen: gr.update(choices=choices, value=preset or OWN, label=label),
            self.hint: render.hint(say(language, f"presets.{preset}.see") if preset else titles),
        }, preset
