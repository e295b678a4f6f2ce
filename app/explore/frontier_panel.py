"""The frontier on the page: its button, its plots of quality against network calls, and its table."""

from collections.abc import Mapping
from html import escape

import gradio as gr

from app.explore.axes_panel import ExploreControls
from app.explore.grids import Frontier
from app.explore.run import Results
from app.server.sessions import Drawn
from app.texts import DEFAULT, say
from app.ui.events import Component, Shown
from app.ui.lazy_import import lazy_import

explore_views, frontier_plot = lazy_import("app.explore.render"), lazy_import("app.explore.frontier_plot")

MEASURES = ("rms", "kid")  # one plot per measure


class FrontierPanel:
    """The frontier's components, laid out where the panel is constructed. axes: has the frontier's controls."""

    def __init__(self, axes: ExploreControls):
        self.drawn: Drawn[Component] = Drawn()
        self.words = gr.HTML(_words(DEFAULT), apply_default_css=False)
        axes.lay_out_frontier()
        self.button = gr.Button(say(DEFAULT, "buttons.measure"), variant="primary")
        self.plan = gr.HTML(apply_default_css=False)
        self.plots, self.captions = [], []
        with gr.Column(elem_id="frontier-result") as self.result:
            for _ in MEASURES:
                self.plots.append(gr.Plot(show_label=False, container=False, visible=False, elem_classes="plot"))
                self.captions.append(gr.HTML(apply_default_css=False))
            self.table = gr.HTML(apply_default_css=False)

    @property
    def worded(self) -> set[Component]:
        """The outputs of `rewrite`."""
        return {self.button, self.words, *self.plots}

    @property
    def measured(self) -> set[Component]:
        """The outputs of `shown` and `empty`."""
        return {*self.plots, *self.captions, self.table}

    def rewrite(self, language: str, request: gr.Request | None) -> Shown:
        """Return updates that put its words, and the plots that the visitor has, in a language."""
        words = {self.button: gr.update(value=say(language, "buttons.measure")), self.words: _words(language)}
        return words if request is None else words | self.drawn.again(request.session_hash, language)

    def empty(self, request: gr.Request | None) -> Shown:
        """Return updates that clear the results: nothing is measured yet."""
        if request is not None:
            self.drawn.drop(request.session_hash)
        hidden = dict.fromkeys(self.plots, gr.update(visible=False))
        return hidden | dict.fromkeys([*self.captions, self.table], "")

    def known(self, request: gr.Request | None, language: str, frontier: Frontier, found: Mapping) -> Shown:
        """Return updates that show the measurements if all are known; else nothing is measured yet."""
        is_whole = all(job.key in found for job in frontier.jobs)
        return self.shown(request, language, frontier, Results(dict(found), None)) if is_whole else self.empty(request)

    def shown(self, request: gr.Request, language: str, frontier: Frontier, results: Results) -> Shown:
        """Return updates that show the measurements so far."""
        found = {key: one.result for key, one in results.found.items()}
        points = [point for one in frontier.measurements if (point := one.point(found))]

        def plots(language: str) -> Shown:
            charts = frontier_plot.frontier_plots(points, language)
            hidden = gr.update(visible=False)
            drawn = [hidden if one is None else gr.update(value=one.plot, visible=True) for one in charts]
            return dict(zip(self.plots, drawn, strict=True))

        captions = [explore_views.caption(points, measure) for measure in MEASURES]
        shown: Shown = dict(zip(self.captions, captions, strict=True))
        shown |= {self.table: explore_views.frontier_html(points)}
        return shown | self.drawn.draw(request.session_hash, language, plots)


def _words(language: str) -> str:
    """Return the frontier's heading and explanation as HTML."""
    heading = f"<h2>{escape(say(language, 'frontier.heading'))}</h2>"
    return f'{heading}<p class="hint">{escape(say(language, "frontier.what"))}</p>'
