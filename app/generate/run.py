"""A run of the sampler as a job: its view after each step, and its film."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from app.generate.film import Frame, frame_steps
from app.server.network import stream
from app.ui.images import visible
from app.ui.progress import PREVIEW_SECONDS, Progress, WorkStep

if TYPE_CHECKING:
    from diffusion.pipeline import DDPMLabPipeline
    from diffusion.plan import Plan
    from diffusion.sampling import Step


@dataclass(frozen=True, eq=False)
class RunView:
    """A run after a step. x_t, x_0_hat: (B, H, W, C) uint8.

    is_finite: whether every number of x_t is; for the others see `visible`. film: of the run from x_T on, after its
    last step only.
    """

    x_t: np.ndarray
    x_0_hat: np.ndarray
    is_finite: bool
    film: tuple[Frame, ...] = ()

    @classmethod
    def of(cls, step: Step, film: tuple[Frame, ...] = ()) -> RunView:
        """Return the view after a step of the sampler."""
        return cls(visible(step.x_s), visible(step.x_0_hat), bool(step.x_s.isfinite().all()), film)


def run_steps(pipeline: DDPMLabPipeline, plan: Plan) -> Iterator[WorkStep[RunView]]:
    """Compute a run in this thread and yield its steps."""
    total = len(plan.run_pairs)
    film, in_film = [], frame_steps(total)
    for number, step in enumerate(pipeline.steps(plan), 1):
        if number == 1:
            film.append(Frame.before(step, total))
        if number in in_film:
            film.append(Frame.of(number, step, total))

        def make(is_last: bool, number: int = number, step: Step = step) -> RunView:
            if is_last and number not in in_film:  # stopped there
                film.append(Frame.of(number, step, total))
            return RunView.of(step, tuple(film) if is_last else ())

        yield WorkStep(number, total, make)


def watch_run(
    pipeline: DDPMLabPipeline,
    plan: Plan,
    is_stopped: Callable[[], bool] = lambda: False,
    every_seconds: float = PREVIEW_SECONDS,
) -> Iterator[Progress[RunView]]:
    """Compute a run in the network's thread and yield its progress; see `stream`."""
    return stream(lambda: run_steps(pipeline, plan), is_stopped, every_seconds)
