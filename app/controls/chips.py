"""The values of a slider that one tap sets, as buttons below it. sliders.js connects them."""

from html import escape

from app.controls.codecs import Codec
from app.controls.spec import field_words
from app.texts import in_each
from app.ui.html import words
from diffusion.setting_spec import Limits


def chips_html(codec: Codec, limits: Limits, language: str) -> str:
    """Return a button for each value that the setting offers as a chip within these limits."""
    buttons = "".join(
        f'<button type="button" data-value="{value!r}" aria-pressed="false">'
        f"{words(in_each(lambda language, value=value: codec.chip_words(value, limits, language)))}</button>"
        for value in codec.setting.chips(limits)
    )
    label = escape(field_words(codec.setting.name, language))
    return f'<div class="chips" data-control="{codec.name}" role="group" aria-label="{label}">{buttons}</div>'
