"""Pictures on the stage of Generate that were made in another tab: as after a run, but without its film."""

from typing import TYPE_CHECKING

from app.generate.run import RunView
from app.ui.events import Shown
from app.ui.html import progress_line
from app.ui.images import visible
from app.ui.lazy_import import lazy_import
from app.ui.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from app.generate.tab import GenerateTab
    from diffusion.denoisers import Description
    from diffusion.plan import Plan

views = lazy_import("app.generate.render")


def show_made(tab: "GenerateTab", plan: "Plan", x_0: "Tensor", seconds: float, made_by: "Description") -> Shown:
    """Return the stage with the pictures of a whole run, each to look at and to save with its recipe.

    x_0: (B, C, H, W), as the run's last step left it. seconds: that the run took. made_by: what computed it.
    """
    images, total = visible(x_0), len(plan.run_pairs)
    view = RunView(images, images, bool(x_0.isfinite().all()))
    progress = Progress("done", total, total, seconds, 0.0, view)
    checkpoint = tab.services.catalogue.checkpoint(plan.settings.checkpoint)
    return {
        tab.stage: views.finished(progress, plan, checkpoint, made_by),
        tab.progress: progress_line(progress),
    }
