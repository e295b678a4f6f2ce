"""The table "which knob of Stable Diffusion is this?": what each control is called in other programs."""

import re
from html import escape

from app.controls.codecs import CODECS
from app.controls.spec import field_words, sampler_title
from app.texts import say
from diffusion.samplers.registry import SAMPLERS

PROGRAMS = ("webui", "comfy")
# Settings and samplers by their names, and what else people look for. Texts: "elsewhere.NAME"
ROWS = (
    "checkpoint", "class_label", "guidance_scale", "num_inference_steps", "sampler", "ddim", "ddpm", "dpmpp_2m",
    "unipc", "heun", "timestep_spacing", "eta", "seed", "num_images", "preview", "grid", "recipe",
)  # fmt: skip
NAME = re.compile("`([^`]+)`")  # a name that stands in the other program as it is written here


def table(language: str) -> str:
    """Return the table as HTML."""
    heads = "".join(f'<th scope="col">{_marked(say(language, f"elsewhere.{one}"))}</th>' for one in ("here", *PROGRAMS))
    rows = "".join(
        f'<tr><th scope="row">{escape(_here(name, language))}</th>'
        + "".join(f"<td>{_marked(say(language, f'elsewhere.{name}.{one}'))}</td>" for one in PROGRAMS)
        + "</tr>"
        for name in ROWS
    )
    return (
        f'<p class="hint">{escape(say(language, "elsewhere.what"))}</p>'
        f'<div class="elsewhere" tabindex="0" role="region" aria-label="{escape(say(language, "elsewhere.heading"))}">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _here(name: str, language: str) -> str:
    """Return what a row is about, by its name on this page."""
    if name in SAMPLERS:
        return sampler_title(name, language)
    return field_words(name, language) if name in CODECS else say(language, f"elsewhere.{name}.here")


def _marked(text: str) -> str:
    return NAME.sub(r"<code>\1</code>", escape(text))
