"""Two runs side by side in the network's thread: their states at matching steps, and their divergence."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.server.limits import check_cost
from app.server.network import stream
from app.server.services import Services
from app.ui.images import visible
from app.ui.progress import PREVIEW_SECONDS, Progress, WorkStep
from diffusion.experiments.comparison import Divergence, check_pair, compare_runs, matching_steps, rms
from diffusion.pipeline import DDPMLabPipeline
from diffusion.plan import Plan
from diffusion.sampling import Step

COLUMNS = 8  # of the strips, at most


@dataclass(frozen=True, eq=False)
class StripCell:
    """A run at one column of the strips. t: of the step; x_t (before the step), x_0_hat: (B, H, W, C) uint8."""

    t: int
    x_t: np.ndarray
    x_0_hat: np.ndarray


@dataclass(frozen=True, eq=False)
class ComparisonView:
    """Both runs after a step of one of them. The first of each pair belongs to the first run.

    numbers: steps done; steps: in all. seconds: spent in each run. columns: (numbers of both runs' steps, from 0; log
    SNR) of the strips, from noisy to clean; cells: of each run, one per column, None for steps still to come.
    divergences: so far, one per matching pair of steps. x_t: the final states, (B, H, W, C) uint8; None before the end.
    is_finite: whether every number of the states is. apart: root mean square between the newest
    x_0_hat of both runs, at the end; None if one of them has none.
    """

    numbers: tuple[int, int]
    steps: tuple[int, int]
    seconds: tuple[float, float]
    columns: tuple[tuple[tuple[int, int], float], ...]
    cells: tuple[tuple[StripCell | None, ...], tuple[StripCell | None, ...]]
    divergences: tuple[Divergence, ...]
    x_t: tuple[np.ndarray | None, np.ndarray | None]
    is_finite: tuple[bool, bool]
    apart: float | None


def check_comparison(services: Services, a: DDPMLabPipeline, plan_a: Plan, b: DDPMLabPipeline, plan_b: Plan) -> None:
    """Check that two runs can run side by side on this server. Raises FieldError if not."""
    check_pair(a, plan_a, b, plan_b)
    check_cost(services.options, plan_a, plan_b)


def watch_comparison(
    a: DDPMLabPipeline, plan_a: Plan, b: DDPMLabPipeline, plan_b: Plan,
    is_stopped: Callable[[], bool] = lambda: False, every_seconds: float = PREVIEW_SECONDS,
) -> Iterator[Progress[ComparisonView]]:  # fmt: skip
    """Compute two runs side by side in the network's thread and yield their progress; see `stream`.

    Raises FieldError if they do not fit together.
    """
    return stream(lambda: comparison_steps(a, plan_a, b, plan_b), is_stopped, every_seconds)


def comparison_steps(
    a: DDPMLabPipeline, plan_a: Plan, b: DDPMLabPipeline, plan_b: Plan
) -> Iterator[WorkStep[ComparisonView]]:
    """Compute two runs side by side in this thread and yield their steps."""
    total = len(plan_a.run_pairs), len(plan_b.run_pairs)
    columns = strip_columns(plan_a, plan_b)
    cells: tuple[list[StripCell | None], list[StripCell | None]] = ([None] * len(columns), [None] * len(columns))
    seconds, divergences, before = [0.0, 0.0], [], (0, 0)
    last = time.monotonic()
    for pair in compare_runs(a, plan_a, b, plan_b):
        side = 0 if pair.numbers[0] > before[0] else 1
        before = pair.numbers
        now = time.monotonic()
        seconds[side] += now - last
        last = now
        divergences.extend(pair.divergences)
        step, number = pair.steps[side], pair.numbers[side] - 1
        for place, (numbers, _) in enumerate(columns):
            if numbers[side] == number:
                cells[side][place] = _strip_cell(step)

        def make(is_last: bool, pair=pair) -> ComparisonView:
            both = is_last and None not in pair.steps
            return ComparisonView(
                pair.numbers, total, (seconds[0], seconds[1]), columns, (tuple(cells[0]), tuple(cells[1])),
                tuple(divergences), tuple(visible(s.x_s) if s and is_last else None for s in pair.steps),
                tuple(s is None or bool(s.x_s.isfinite().all()) for s in pair.steps),
                rms(pair.steps[0].x_0_hat - pair.steps[1].x_0_hat) if both else None,
            )  # fmt: skip

        yield WorkStep(sum(pair.numbers), sum(total), make, seconds_left=_seconds_left(seconds, pair.numbers, total))


def _seconds_left(seconds: Sequence[float], numbers: tuple[int, int], total: tuple[int, int]) -> float:
    """Estimate the seconds left, as if every step took as long as the earlier ones of its run.

    A run that has not begun counts as 0.
    """
    return sum(s / done * (of - done) for s, done, of in zip(seconds, numbers, total, strict=True) if done)


def strip_columns(plan_a: Plan, plan_b: Plan) -> tuple[tuple[tuple[int, int], float], ...]:
    """Return the matching steps that the strips show, and their log SNR (see ComparisonView).

    They are spread evenly over the run with fewer steps, and include its first and last step.
    """
    matches = matching_steps(plan_a, plan_b)
    count = min(len(matches), COLUMNS)
    chosen = sorted({round(k * (len(matches) - 1) / max(1, count - 1)) for k in range(count)})
    shorter = 0 if len(plan_a.run_pairs) <= len(plan_b.run_pairs) else 1
    plan = (plan_a, plan_b)[shorter]
    timesteps = [plan.run_pairs[matches[k][shorter]][0] for k in chosen]
    return tuple((matches[k], -2 * plan.schedule.log_sigma[t].item()) for k, t in zip(chosen, timesteps, strict=True))


def _strip_cell(step: Step) -> StripCell:
    return StripCell(step.t, visible(step.x_t), visible(step.x_0_hat))
