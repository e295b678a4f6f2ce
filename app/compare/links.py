"""The link to a comparison: to a preset by name, or to the settings of both runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from app.compare.presets import DEFAULT_PRESET, check_preset, preset_settings
from app.controls.values import controls_of, linked_values
from app.server.services import Services
from app.texts import say_in_each
from app.ui.links import noted_link, query_fields
from diffusion.sharing.recipe import from_query, to_query

if TYPE_CHECKING:
    from diffusion.plan import Plan

SIDES = ("a", "b")


def comparison_link(plans: "Sequence[Plan]", address: str) -> str:
    """Return the HTML of a link to both runs, to copy. address: of the page."""
    fields = [("tab", "compare")]
    for side, plan in zip(SIDES, plans, strict=True):
        fields += [(f"{side}.{name}", value) for name, value in parse_qsl(to_query(plan.settings))]
    return noted_link(f"{address}?{urlencode(fields)}", say_in_each("compare.link"))


def linked_runs(services: Services, query: str, count: int) -> list[dict] | None:
    """Return the values of both runs' controls that an address describes; by default those of DEFAULT_PRESET.

    ?tab=compare&preset=NAME names a preset without values: its runs are then on the default checkpoint, with `count`
    pictures. None if no checkpoint can be used. Raises ValueError naming the field.
    """
    fields = query_fields(query)
    preset = fields.get("preset", DEFAULT_PRESET) if fields.get("tab") == "compare" else DEFAULT_PRESET
    check_preset(preset)
    runs = [from_query({k[2:]: v for k, v in fields.items() if k.startswith(f"{side}.")}) for side in SIDES]
    if None not in runs:
        return [linked_values(services, settings) for settings in runs]
    checkpoint = services.checkpoint(services.catalogue.default())
    if checkpoint is None:
        return None
    return [controls_of(settings, checkpoint) for settings in preset_settings(preset, checkpoint, 0, count)]
