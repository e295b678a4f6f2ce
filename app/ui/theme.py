"""The look of the page (light and dark colours, the visitor's system fonts, one blue accent), and its scripts.

Each room of app/ has the style sheets and scripts of its own part of the page: every *.css and *.js file below app/ is
loaded, those of ui/ first. A script listens on the document, since Gradio draws the page later and again.
"""

import json
from pathlib import Path

import gradio as gr

from app.texts import DEFAULT, LANGUAGES, in_each, say, texts

APP = Path(__file__).parents[1]
INK = gr.themes.Color(
    name="ink",
    c50="#f1f5fa",
    c100="#dfe8f3",
    c200="#c3d3e7",
    c300="#9ab5d6",
    c400="#7599c6",
    c500="#4f79ab",
    c600="#335b8c",
    c700="#2a4b74",
    c800="#223c5c",
    c900="#1b2f48",
    c950="#121f30",
)
# No font by name for Chinese: the browser takes the system's, with the shapes of the document's language
FONTS = ("system-ui", "-apple-system", "Segoe UI", "sans-serif")
MONO_FONTS = ("ui-monospace", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    """Return the theme of the whole page; the style sheets add what Gradio has no option for."""
    return gr.themes.Base(
        primary_hue=INK,
        secondary_hue=INK,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_sm,
        font=FONTS,
        font_mono=MONO_FONTS,
    ).set(
        body_background_fill="#faf9f7",
        body_background_fill_dark="#161719",
        body_text_color="*neutral_900",
        body_text_color_dark="#e9e7e3",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1e2023",
        background_fill_secondary="*neutral_100",
        background_fill_secondary_dark="#26282c",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        block_padding="0px",
        block_label_text_color="*neutral_800",
        block_title_text_color="*neutral_900",
        block_title_text_color_dark="#e9e7e3",
        block_title_text_weight="600",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        border_color_primary="*neutral_300",
        border_color_primary_dark="#3a3d42",
        input_background_fill="#ffffff",
        input_background_fill_dark="#1e2023",
        input_border_color="*neutral_300",
        input_border_color_dark="#4a4d53",
        input_border_width="1px",
        slider_color="*primary_600",
        slider_color_dark="*primary_300",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_300",
        button_primary_background_fill_hover_dark="*primary_200",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="*primary_950",
        button_secondary_background_fill="*neutral_200",
        button_secondary_background_fill_hover="*neutral_300",
        button_secondary_background_fill_dark="#33363b",
        button_secondary_background_fill_hover_dark="#3f4248",
        button_secondary_text_color="*neutral_900",
        button_secondary_text_color_dark="#e9e7e3",
        checkbox_background_color_selected="*primary_600",
        checkbox_border_color_selected="*primary_600",
        checkbox_label_background_fill_selected="*primary_100",
        checkbox_label_background_fill_selected_dark="*primary_800",
        checkbox_label_text_color_selected="*primary_900",
        checkbox_label_text_color_selected_dark="#ffffff",
        checkbox_label_border_color="*neutral_300",
        checkbox_label_border_color_dark="#4a4d53",
        link_text_color="*primary_700",
        link_text_color_hover="*primary_900",
        link_text_color_dark="*primary_300",
        link_text_color_hover_dark="*primary_200",
    )


def css() -> str:
    """Return the page's own style sheet, including texts that Gradio would show in the browser's language."""
    words = "".join(_upload_words(language) for language in LANGUAGES)
    others = "".join(f":not({_spoken(language)})" for language in LANGUAGES if language != DEFAULT)
    # A sentence is there in every language, and the document's language picks one
    picked = "".join(
        f"html{others if language == DEFAULT else _spoken(language)} "
        f'.words > [lang]:not([lang="{language}"]) {{ display: none; }}\n'
        for language in LANGUAGES
    )
    return _contents("*.css") + words + picked


def _upload_words(language: str) -> str:
    """Return the words of an upload in a language, for style.css to choose from: a phone has no file to drag.

    As properties, since Gradio would put its own prefix before `html` inside a media query.
    """
    said = "".join(f' --{key}: "{say(language, f"page.{key}")}";' for key in ("drop", "pick", "pick_saved"))
    return f"html{_spoken(language)} {{{said} }}\n"


def _spoken(language: str) -> str:
    """Return the selector of a document in a language: its tag, since `zh` would be every kind of Chinese."""
    return f":lang({say(language, 'page.tag')})"


def head() -> str:
    """Return what goes into the page's <head>: its scripts, each in a function of its own."""
    languages = {say(language, "page.tag"): language for language in LANGUAGES}
    known = f"window.LANGUAGE_OF = {json.dumps(languages)}; window.GRADIO_WORDS = {json.dumps(gradio_words())};"
    return f"<script>{known}\n{_contents('*.js')}</script>"


def gradio_words() -> list[dict[str, str]]:
    """Return the texts that Gradio and Vega put on the page in one language only, each with its wording in every one.

    ui/words.js puts the page's language in their place.
    """
    keys = [key for key in texts(DEFAULT) if key.startswith("gradio.")]
    return [in_each(lambda language, key=key: texts(language)[key]) for key in keys]


def _contents(pattern: str) -> str:
    """Return the content of all files below app/ whose names match, those of ui/ first."""
    paths = sorted(APP.rglob(pattern), key=lambda path: (path.parent.name != "ui", path))
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)
