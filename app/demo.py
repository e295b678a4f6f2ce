"""Assembles the page: header, language, tab, endpoint; and says how it is served."""

import os

import gradio as gr

from app.api import make_generate
from app.catalogue import Catalogue
from app.options import ROOT, Options
from app.runs import NETWORK
from app.shop import Shop
from app.tabs.generate import PRIVATE, GenerateTab
from app.texts import DEFAULT, LANGUAGES, known_language, language_of, say
from app.theme import css, theme
from diffusion.recipe import MAX_FILE

HOUR = 3600
CLOSED = ("app", "app.py", "diffusion", "training", "tests", "data", "datasets", "checkpoints", "runs", ".git")
# The language of the document: what style.css picks sentences by, and what screen readers and fonts go by
SPEAK = """(language) => {
    document.documentElement.lang = language === "zh" ? "zh-Hans" : language;
    document.title = document.querySelector("#header h1")?.textContent ?? document.title;
    document.body.classList.add("ready");
}"""


def build_demo(options: Options) -> gr.Blocks:
    """The page, ready to launch."""
    if options.threads is not None:
        import torch

        torch.set_num_threads(options.threads)
    shop = Shop(options, Catalogue(options.checkpoints))
    with gr.Blocks(title=say(DEFAULT, "page.title"), fill_width=True, delete_cache=(HOUR, HOUR)) as demo:
        remembered = gr.BrowserState(None, storage_key="ddpm-lab-language", secret="not-a-secret-only-fixed")
        with gr.Column(elem_id="page"):
            with gr.Row(elem_id="header"):
                header = gr.HTML(_header(DEFAULT), apply_default_css=False)
                language = gr.Radio(
                    [(name, code) for code, name in LANGUAGES.items()],
                    value=DEFAULT,
                    label=say(DEFAULT, "page.language"),
                    show_label=False,
                    container=False,
                    elem_id="language",
                )
            tab = GenerateTab(shop, language)
            footer = gr.HTML(_footer(DEFAULT), apply_default_css=False, elem_id="footer")

        def open_page(remembered, request: gr.Request):
            chosen = known_language(remembered) if remembered else language_of(request.headers.get("accept-language"))
            query = str(request.query_params or "")
            return [chosen, _header(chosen), _footer(chosen), *tab.open(chosen, query=query)]

        def recall(chosen, known):
            return tab.recipe.recall(known_language(chosen), known)

        def speak(chosen, *sent):
            chosen = known_language(chosen)
            return [chosen, _header(chosen), _footer(chosen), *tab.rewrite(chosen, tab.form.values(sent))]

        opened = demo.load(open_page, remembered, [language, header, footer, *tab.whole], preprocess=False, **PRIVATE)
        opened.then(None, language, None, js=SPEAK, **PRIVATE)
        tab.wire_measure(opened)
        history = [[language, tab.recipe.remembered], tab.recipe.history]
        opened.then(recall, *history, preprocess=False, **PRIVATE)
        spoken = language.input(
            speak, tab.inputs, [remembered, header, footer, *tab.worded], preprocess=False, **PRIVATE
        )
        spoken.then(None, language, None, js=SPEAK, **PRIVATE)
        spoken.then(recall, *history, preprocess=False, **PRIVATE)
        gr.api(make_generate(shop), api_name="generate", concurrency_id=NETWORK, concurrency_limit=1)
    return demo.queue(api_open=False, max_size=options.queue_size)


def launch_arguments(options: Options) -> dict:
    """How the page is served: alike on a Space and at home; what the owner left open, the environment decides."""
    # Gradio asks its own address whether it is up; a system proxy must not be in between
    os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), "localhost", "127.0.0.1"]))
    return {
        "theme": theme(),
        "css": css(),
        "server_name": options.host,
        "server_port": options.port,
        "ssr_mode": False,  # Spaces would turn it on, and then style and scripts apply at another time
        "enable_monitoring": False,
        "run_history": False,
        "footer_links": ["api"],  # hidden by style.css; without it ?view=api shows nothing
        "max_file_size": MAX_FILE,  # of a saved picture that brings its recipe back
        "blocked_paths": [str(ROOT / name) for name in CLOSED] + [str(options.checkpoints)],
    }


def _header(language: str) -> str:
    return f"<h1>{say(language, 'page.title')}</h1><p>{say(language, 'page.tagline')}</p>"


def _footer(language: str) -> str:
    # Gradio opens its page of the API by its own button only, not by its address
    opens = "document.querySelector('footer .show-api')?.click(); return false"
    api = f'<a href="?view=api" onclick="{opens}">{say(language, "page.footer_api")}</a>'
    return f"<p>{say(language, 'page.footer', api=api)}</p>"
