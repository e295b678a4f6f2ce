"""Assemble the page (header, language, tabs, API endpoints) and set how it is served."""

import json
import os

import gradio as gr
from starlette.middleware import Middleware

from app.api.bodies import CheckedBodies
from app.api.endpoints import ENDPOINTS
from app.api.panel import TAB, ApiPanel
from app.api.refusals import exception_handlers
from app.compare.tab import CompareTab
from app.explore.tab import ExploreTab
from app.generate.tab import GenerateTab
from app.maths.tab import MathsTab
from app.server.checkpoints import Catalogue
from app.server.network import NETWORK, in_network_thread
from app.server.options import ROOT, Options
from app.server.services import Services
from app.texts import DEFAULT, LANGUAGES, in_each, known_language, language_of, say
from app.ui.address import RECALL, Opener, Visit
from app.ui.events import PRIVATE, Sent, Shown
from app.ui.html import words
from app.ui.lightbox import lightbox
from app.ui.links import page_address
from app.ui.theme import css, head, theme
from app.visits.tabs import PageTabs
from diffusion.sharing.recipe import MAX_PICTURE_BYTES

HOUR = 3600
BROWSER_KEY = "not-a-secret-only-fixed"  # of what the browser keeps: a key drawn at each start would forget it
CLOSED = ("app", "app.py", "diffusion", "training", "tests", "data", "datasets", "checkpoints", "runs", ".git")
# Set the language of the document, which the styles, screen readers and fonts go by
TAGS = json.dumps(in_each(lambda language: say(language, "page.tag")))
GREET = """(language) => {
    document.documentElement.lang = TAGS[language];
    document.body.classList.add("greeted");
}""".replace("TAGS", TAGS)
SPEAK = """(language) => {
    document.documentElement.lang = TAGS[language];
    document.title = document.querySelector("#header h1")?.textContent ?? document.title;
    if (!document.body.classList.contains("ready")) onScreen.open();
    document.body.classList.add("ready");
}""".replace("TAGS", TAGS)


def quick(pipeline):
    """Return the pipeline on its fastest engine here, in little memory: Catalogue's `quicken`."""
    return in_network_thread(lambda: pipeline.fast().without_weights())


def build_demo(options: Options) -> gr.Blocks:
    """Build the page, ready to launch."""
    if options.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)  # torch reads it at import
    quicken = None if options.engine == "torch" else quick
    services = Services(options, Catalogue(options.checkpoints, quicken=quicken))
    with gr.Blocks(title=say(DEFAULT, "page.title"), fill_width=True, delete_cache=(HOUR, HOUR)) as demo:
        remembered = gr.BrowserState(None, storage_key="ddpm-lab-language", secret=BROWSER_KEY)
        gr.HTML(_waking(), apply_default_css=False, elem_id="waking")
        gr.HTML(lightbox(), apply_default_css=False, elem_id="lightbox")
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
            # Outside the tabs: a component in a tab that is not open is not on the page, and remembers nothing
            history = gr.BrowserState([], storage_key="ddpm-lab-history", secret=BROWSER_KEY)
            with gr.Tabs(selected="generate", elem_id="tabs") as tabs:
                with gr.Tab(say(DEFAULT, "tabs.generate"), id="generate") as generate_tab:
                    generate = GenerateTab(services, language, history)
                with gr.Tab(say(DEFAULT, "tabs.compare"), id="compare") as compare_tab:
                    compare = CompareTab(services, language)
                with gr.Tab(say(DEFAULT, "tabs.explore"), id="explore") as explore_tab:
                    explore = ExploreTab(services, language)
                with gr.Tab(say(DEFAULT, "tabs.maths"), id="maths") as maths_tab:
                    maths = MathsTab(services, language, generate.form)
            opener = Opener()
            api = ApiPanel(services)
            footer = gr.HTML(_footer(DEFAULT), apply_default_css=False, elem_id="footer")

        titles = {"generate": generate_tab, "compare": compare_tab, "explore": explore_tab, "maths": maths_tab}
        features = PageTabs(services, language, opener, tabs, generate, compare, explore, maths)
        around = {header, footer, api.group, *titles.values()}

        def words_around(chosen: str) -> Shown:
            labels = {tab: gr.update(label=say(chosen, f"tabs.{name}")) for name, tab in titles.items()}
            return {header: _header(chosen), footer: _footer(chosen)} | labels | api.rewrite(chosen)

        def greet(sent: Sent, request: gr.Request) -> Shown:
            return {language: _language(sent[remembered], request)}

        def open_page(sent: Sent, request: gr.Request) -> Shown:
            chosen = _language(sent[remembered], request)
            visit = Visit.of(sent[opener.told], request)
            shown = {language: chosen} | words_around(chosen) | features.open(request, chosen, visit)
            return shown | (api.open(chosen, request) if visit.tab == TAB else {})

        def recall(sent: Sent) -> Shown:
            return generate.recipe.recall(known_language(sent[language]), sent[history])

        def speak(request: gr.Request, sent: Sent) -> Shown:
            chosen = known_language(sent[language])
            shown = {remembered: chosen} | words_around(chosen)
            shown |= generate.rewrite(chosen, generate.form.values(sent), page_address(request))
            shown |= compare.rewrite(chosen, compare.values(sent), address=page_address(request))
            shown |= compare.outcome.redraw(request, chosen)
            return shown | explore.rewrite(chosen, *explore.values(sent), request)

        def leave(request: gr.Request):
            services.queue.leave_all(request.session_hash)

        demo.unload(leave)
        raw = {"preprocess": False, **PRIVATE}
        whole = {language} | around | api.shown | features.whole
        demo.load(greet, {remembered}, {language}, **raw).then(None, language, None, js=GREET, **PRIVATE)
        told = demo.load(None, None, opener.told, js=RECALL, **PRIVATE)
        opened = told.then(open_page, {remembered, opener.told}, whole, **raw)
        opened.then(None, language, None, js=SPEAK, **PRIVATE)
        explore.wire_measured(generate.wire_measure(opened))
        maths.wire_turn(opened)
        features.wire(titles, opened)
        opened.then(recall, {language, history}, {generate.recipe.history}, **raw)
        worded = {remembered} | around | generate.worded | compare.worded | explore.worded
        spoken = language.input(speak, generate.inputs | compare.inputs | explore.inputs, worded, **raw)
        spoken.then(None, language, None, js=SPEAK, **PRIVATE)
        maths.wire_turn(spoken)
        spoken.then(recall, {language, history}, {generate.recipe.history}, **raw)
        for one in ENDPOINTS:
            turns = {"concurrency_id": NETWORK, "concurrency_limit": 1} if one.runs else {}
            gr.api(one.make(services), api_name=one.name, **turns)
    # The page itself refuses, in the visitor's language, when the queue is full. Gradio's own limit is for requests
    # that come another way; it leaves room for the page's short events
    return demo.queue(api_open=False, max_size=2 * options.queue_size)


def launch_arguments(options: Options) -> dict:
    """Return the arguments of `demo.launch`, the same on a Space and at home; adds localhost to NO_PROXY.

    The environment decides the options that are None.
    """
    # At startup Gradio requests its own address, which must not go through a system proxy
    os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), "localhost", "127.0.0.1"]))
    return {
        "theme": theme(),
        "css": css(),
        "head": head(),
        "server_name": options.host,
        "server_port": options.port,
        "ssr_mode": False,  # Spaces would turn it on, which changes when style and scripts apply
        "enable_monitoring": False,
        "run_history": False,
        "state_session_capacity": 500,  # sessions that Gradio keeps; each takes a third of a megabyte
        "favicon_path": str(ROOT / "app" / "ui" / "icon.png"),
        "pwa": True,  # the browser can install the page as an app
        "footer_links": ["api"],  # hidden by ui/style.css; without it ?view=api shows nothing
        "app_kwargs": {"exception_handlers": exception_handlers(), "middleware": [Middleware(CheckedBodies)]},
        "max_file_size": MAX_PICTURE_BYTES,  # of a saved picture, uploaded to restore its recipe
        "blocked_paths": [str(ROOT / name) for name in CLOSED] + [str(options.checkpoints)],
    }


def _language(remembered, request: gr.Request) -> str:
    """Return the language stored in this browser, else the one that its Accept-Language header asks for."""
    return known_language(remembered) if remembered else language_of(request.headers.get("accept-language"))


def _waking() -> str:
    """Return the notice shown until the page is filled; ui/style.css shows it only if that takes more than a moment."""
    return f'<p role="status">{words(in_each(lambda language: say(language, "page.waking")))}</p>'


def _header(language: str) -> str:
    return f"<h1>{say(language, 'page.title')}</h1><p>{say(language, 'page.tagline')}</p>"


def _footer(language: str) -> str:
    api = f'<a href="?tab={TAB}" data-opens="{TAB}">{say(language, "page.footer_api")}</a>'
    return f"<p>{say(language, 'page.footer', api=api)}</p>"
