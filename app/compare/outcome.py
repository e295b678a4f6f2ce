"""What is shown of a comparison: its progress, the strips, and at the end the pictures and the divergence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr
import numpy as np

from app.server.services import Services
from app.server.sessions import Drawn, Shelf
from app.ui.events import Component, Shown
from app.ui.html import idle_line, progress_line
from app.ui.lazy_import import lazy_import
from app.ui.progress import Progress
from diffusion.sharing.recipe import to_query

if TYPE_CHECKING:
    from app.compare.run import ComparisonView
    from diffusion.denoisers import Description
    from diffusion.plan import Plan

plots, render = lazy_import("app.compare.plots"), lazy_import("app.compare.render")

SHELF_BYTES = 50_000_000  # of the comparisons of all visitors


@dataclass(frozen=True, eq=False)
class MadeComparison:
    """A comparison that ended, or was stopped. made_by: what computed both runs."""

    plans: tuple[Plan, Plan]
    progress: Progress[ComparisonView]
    made_by: tuple[Description, Description]

    @property
    def versions(self) -> tuple[str, str]:
        """The SHA-256 of the checkpoints that drew both."""
        first, second = (str(one.checkpoint_sha256) for one in self.made_by)
        return first, second

    @property
    def key(self) -> str:
        """The same for all comparisons of these runs; no comparison has that of a stopped one."""
        return comparison_key(self.plans, self.versions) if self.progress.state == "done" else "stopped"

    @property
    def size(self) -> int:
        """Its bytes, about."""
        view = self.progress.content
        cells = [array for row in view.cells for cell in row if cell for array in (cell.x_t, cell.x_0_hat)]
        return sum(array.nbytes for array in (*view.x_t, *cells) if array is not None)


def comparison_key(plans: Sequence[Plan], versions: Sequence[str]) -> str:
    """Return the key of the comparison that is planned, on these versions of the checkpoints."""
    return " ".join(f"{version}?{to_query(plan.settings)}" for plan, version in zip(plans, versions, strict=True))


class Outcome:
    """The components that show a comparison, laid out where the object is made, and each visitor's comparisons."""

    def __init__(self, services: Services):
        self.services = services
        self._made: Shelf[MadeComparison] = Shelf(SHELF_BYTES)
        self._drawn: Drawn[Component] = Drawn()
        self.progress = gr.HTML(apply_default_css=False, elem_id="comparison-progress")
        with gr.Column(elem_id="comparison") as self.result:
            with gr.Row(elem_classes="outcome"):
                with gr.Column(min_width=300):
                    self.pictures = gr.HTML(apply_default_css=False)
                with gr.Column(min_width=300, elem_classes="plot"):
                    self.plot = gr.Plot(show_label=False, container=False, visible=False)
            self.strips = gr.HTML(apply_default_css=False)

    @property
    def whole(self) -> set[Component]:
        """The outputs of `put` and `rest`."""
        return {self.progress, *self.running}

    @property
    def running(self) -> set[Component]:
        """The outputs of what `shows` returns."""
        return {self.strips, self.pictures, self.plot}

    def rest(self, request: gr.Request | None = None) -> Shown:
        """Return the components without a comparison."""
        if request is not None:
            self._drawn.drop(request.session_hash)
        empty = gr.update(visible=False)
        return {self.progress: idle_line("ready"), self.strips: "", self.pictures: "", self.plot: empty}

    def put(self, request: gr.Request, language: str, made: MadeComparison) -> Shown:
        """Return the components with a comparison that ended; it is the newest then."""
        self._made.keep(self.services.visitor(request), made.key, made, made.size)
        return {self.progress: progress_line(made.progress)} | self._shown(request, language, made)

    def redraw(self, request: gr.Request, language: str) -> Shown:
        """Draw the plot again if it is in another language than the page; {} if there is nothing to do."""
        return self._drawn.again(request.session_hash, language)

    def made(self, request: gr.Request | None, plans: Sequence[Plan]) -> MadeComparison | None:
        """Return the visitor's own comparison that did what is planned; None if there is none, or none any more."""
        if request is None:
            return None
        return self._made.of(self.services.visitor(request), comparison_key(plans, self._versions(plans)))

    def newest(self, request: gr.Request | None) -> MadeComparison | None:
        """Return the visitor's newest comparison that ended; None if there is none, or none any more."""
        made = request and self._made.newest(self.services.visitor(request))
        return made if made and self._versions(made.plans) == made.versions else None

    def run(self, request: gr.Request, query: str) -> tuple[Plan, np.ndarray, bool, float, Description] | None:
        """Return the run of these settings in the visitor's newest comparison; None if it is in none.

        As plan, (B, H, W, C) uint8 pictures, whether all numbers were finite, seconds, and what computed it.
        """
        made = self.newest(request)
        if made is None or made.progress.state != "done":
            return None
        view = made.progress.content
        for k, plan in enumerate(made.plans):
            if to_query(plan.settings) == query:
                return plan, view.x_t[k], view.is_finite[k], view.seconds[k], made.made_by[k]
        return None

    def shows(
        self, request: gr.Request, language: str, plans: tuple[Plan, Plan], made_by: tuple[Description, Description]
    ) -> Callable[[Progress[ComparisonView]], Shown]:
        """Return the function that shows the progress of a comparison, and keeps it at its end."""

        def show(progress: Progress[ComparisonView]) -> Shown:
            if progress.state == "running":
                self._drawn.drop(request.session_hash)
                strips = render.strips_of(progress.content)
                return {self.strips: strips, self.pictures: "", self.plot: gr.update(visible=False)}
            made = MadeComparison(plans, progress, made_by)
            self._made.keep(self.services.visitor(request), made.key, made, made.size)
            return self._shown(request, language, made)

        return show

    def _shown(self, request: gr.Request, language: str, made: MadeComparison) -> Shown:
        view = made.progress.content
        first, second = (self.services.catalogue.checkpoint(plan.settings.checkpoint) for plan in made.plans)

        def plot(language: str) -> Shown:
            chart = plots.divergence(view.divergences, language).plot
            return {self.plot: gr.update(value=chart, visible=bool(view.divergences))}

        pictures = render.outcome(view, made.plans, (first, second), made.made_by)
        shown = {self.strips: render.strips_of(view), self.pictures: pictures}
        return shown | self._drawn.draw(request.session_hash, language, plot)

    def _versions(self, plans: Sequence[Plan]) -> tuple[str, str]:
        """Return the SHA-256 of both checkpoints as they are now; "" for one that cannot be used any more."""
        found = [self.services.checkpoint(plan.settings.checkpoint) for plan in plans]
        first, second = (checkpoint.sha256 if checkpoint else "" for checkpoint in found)
        return first, second
