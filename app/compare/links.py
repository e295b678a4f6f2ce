"""The link to a comparison: to a preset by name, or to the settings of both runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from app.compare.presets import DEFAULT_PRESET, check_preset, preset_settings
from app.controls.values import controls_of, linked_values
from app.server.services import Services
from app.texts import say_in_each
from app.ui.links import noted_link, query_fields, query_of
from app.ui.marks import Mark
from diffusion.sharing.recipe import from_query

if TYPE_CHECKING:
    from diffusion.plan import Plan
    from diffusion.settings import SamplingSettings

SIDES = ("a", "b")


def comparison_link(plans: "Sequence[Plan]", address: str) -> str:
    """Return the HTML of a link to both runs, to copy. address: of the page."""
    fields = [("tab", "compare"), *_fields([plan.settings for plan in plans])]
    return noted_link(f"{address}?{urlencode(fields)}", say_in_each("compare.link"))


def comparison_mark(services: Services, plans: "Sequence[Plan]", preset: str | None, count: int) -> Mark:
    """Mark the tab with both runs; without them, its address opens DEFAULT_PRESET on the default checkpoint."""
    first = plans[0].settings
    is_usual = (first.checkpoint, first.seed, first.num_images) == (services.catalogue.default(), 0, count)
    runs = [plan.settings for plan in plans]
    return Mark.of("compare", _fields(runs), is_usual and preset == DEFAULT_PRESET, preset or "")


def _fields(runs: "Sequence[SamplingSettings]") -> list[tuple[str, str]]:
    return [field for side, settings in zip(SIDES, runs, strict=True) for field in query_of(settings, f"{side}.")]


def linked_runs(services: Services, query: str, count: int, name: str | None = None) -> list[dict] | None:
    """Return the values of both runs' controls that an address describes; by default those of DEFAULT_PRESET.

    ?tab=compare&preset=NAME&checkpoint=NAME names a preset without values: its runs are on that checkpoint, by default
    on the one with this `name` or else on the default checkpoint, with `count` pictures. None if no checkpoint can be
    used. Raises ValueError naming the field.
    """
    fields = query_fields(query)
    preset = fields.get("preset", DEFAULT_PRESET) if fields.get("tab") == "compare" else DEFAULT_PRESET
    check_preset(preset)
    runs = [from_query({k[2:]: v for k, v in fields.items() if k.startswith(f"{side}.")}) for side in SIDES]
    if None not in runs:
        return [linked_values(services, settings) for settings in runs]
    asked = fields.get("checkpoint") if fields.get("tab") == "compare" else None
    if asked is not None:
        services.catalogue.checkpoint(asked)  # raises what is wrong with it
    checkpoint = services.checkpoint(asked or name or services.catalogue.default())
    if checkpoint is None:
        return None
    return [controls_of(settings, checkpoint) for settings in preset_settings(preset, checkpoint, 0, count)]
