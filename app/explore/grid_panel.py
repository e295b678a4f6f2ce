"""The grid on the page, and the links that save it."""

from collections.abc import Mapping

import gradio as gr

from app.explore.grids import Grid
from app.server.services import Services
from app.ui.events import Component, Shown
from app.ui.lazy_import import lazy_import

explore_views = lazy_import("app.explore.render")


class GridPanel:
    """The grid's components, laid out where the panel is constructed. Each cell is a link that opens its run."""

    def __init__(self, services: Services):
        self.services = services
        self.cells = gr.HTML(apply_default_css=False, elem_id="grid")
        self.files = gr.HTML(apply_default_css=False)

    @property
    def shown(self) -> set[Component]:
        """The outputs of `show`."""
        return {self.cells, self.files}

    def show(self, grid: Grid, found: Mapping, current=None, with_files: bool = True) -> Shown:
        """Return updates that show the grid so far. current: the running job, see app.explore.run.Results."""
        checkpoint = self.services.catalogue.checkpoint(grid.base.checkpoint)
        shown: Shown = {self.cells: explore_views.grid_html(grid, found, checkpoint, current)}
        return shown | ({self.files: explore_views.outcome(grid, found)} if with_files else {})
