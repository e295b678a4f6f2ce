"""A run that was made in another tab, as a run of Generate: without a film."""

from typing import TYPE_CHECKING

import numpy as np

from app.generate.run import RunView
from app.generate.stage import MadeRun
from app.ui.progress import Progress

if TYPE_CHECKING:
    from diffusion.denoisers import Description
    from diffusion.plan import Plan


def made_elsewhere(
    plan: "Plan", images: np.ndarray, is_finite: bool, seconds: float, made_by: "Description"
) -> MadeRun:
    """Return a whole run. images: (B, H, W, C) uint8. seconds: that it took."""
    total = len(plan.run_pairs)
    progress = Progress("done", total, total, seconds, 0.0, RunView(images, images, is_finite))
    return MadeRun(plan, progress, made_by)
