"""Two runs side by side in the network's thread: how they look at matching steps, and how far they have parted."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.pictures import visible
from app.runs import PREVIEW_SECONDS, streamed
from diffusion.compare import Parting, check_pair, compare_runs, matching_steps, rms
from diffusion.pipeline import DDPMLabPipeline
from diffusion.plan import Plan
from diffusion.sampling import Step

COLUMNS = 8  # of the strips


@dataclass(frozen=True, eq=False)
class Cell:
    """A run where a column of the strips stands. t: of the step; x_t (before it), x_0_hat: (B, H, W, C) uint8."""

    t: int
    x_t: np.ndarray
    x_0_hat: np.ndarray


@dataclass(frozen=True, eq=False)
class DuelMoment:
    """Both runs after a step of one of them. The first of each pair belongs to the first run.

    columns: (steps' numbers, log SNR) of the strips, from noisy to clean; cells: of each run, None where it is not yet.
    seconds: spent in each run. partings: so far, one a matching pair of steps. x_t: the states, uint8, for the end.
    apart: root mean square between the newest guesses x_0_hat of both, for the end, where both have one.
    """

    state: Literal["running", "done", "stopped"]
    numbers: tuple[int, int]
    steps: tuple[int, int]
    seconds: tuple[float, float]
    columns: tuple[tuple[tuple[int, int], float], ...]
    cells: tuple[tuple[Cell | None, ...], tuple[Cell | None, ...]]
    partings: tuple[Parting, ...]
    x_t: tuple[np.ndarray | None, np.ndarray | None]
    apart: float | None

    @property
    def seconds_left(self) -> float:
        """As if every step to come took as long as those before, in each run; for a run not begun, as in the other."""
        left = [
            seconds / number * (steps - number) if number else 0.0
            for seconds, number, steps in zip(self.seconds, self.numbers, self.steps, strict=True)
        ]
        return sum(left)


def duel(
    a: DDPMLabPipeline, plan_a: Plan, b: DDPMLabPipeline, plan_b: Plan,
    is_stopped: Callable[[], bool] = lambda: False, every_seconds: float = PREVIEW_SECONDS,
) -> Iterator[DuelMoment]:  # fmt: skip
    """The moments of two runs side by side; see `streamed`. Raises ValueError for runs that do not fit together."""
    check_pair(a, plan_a, b, plan_b)
    return streamed(lambda stopped: duel_moments(a, plan_a, b, plan_b, stopped, every_seconds), is_stopped)


def duel_moments(
    a: DDPMLabPipeline, plan_a: Plan, b: DDPMLabPipeline, plan_b: Plan,
    is_stopped: Callable[[], bool], every_seconds: float,
) -> Iterator[DuelMoment]:  # fmt: skip
    """The moments of two runs side by side, in this thread."""
    total = len(plan_a.run_pairs), len(plan_b.run_pairs)
    columns = strip_columns(plan_a, plan_b)
    cells: tuple[list[Cell | None], list[Cell | None]] = ([None] * len(columns), [None] * len(columns))
    seconds, partings, before = [0.0, 0.0], [], (0, 0)
    shown, last = float("-inf"), time.monotonic()
    for pair in compare_runs(a, plan_a, b, plan_b):
        side = 0 if pair.numbers[0] > before[0] else 1
        before = pair.numbers
        now = time.monotonic()
        seconds[side] += now - last
        last = now
        partings += pair.partings
        step, number = pair.steps[side], pair.numbers[side] - 1
        for place, (numbers, _) in enumerate(columns):
            if numbers[side] == number:
                cells[side][place] = _cell(step)
        state = "done" if pair.numbers == total else "stopped" if is_stopped() else "running"
        if state != "running" or now - shown >= every_seconds:
            shown = now
            is_last = state != "running"
            yield DuelMoment(
                state, pair.numbers, total, (seconds[0], seconds[1]), columns, (tuple(cells[0]), tuple(cells[1])),
                tuple(partings), tuple(visible(s.x_s) if s and is_last else None for s in pair.steps),
                rms(pair.steps[0].x_0_hat - pair.steps[1].x_0_hat) if is_last and None not in pair.steps else None,
            )  # fmt: skip
        if state == "stopped":
            return


def strip_columns(plan_a: Plan, plan_b: Plan) -> tuple[tuple[tuple[int, int], float], ...]:
    """The matching steps that the strips show, evenly over the run with fewer steps, both its ends among them."""
    matches = matching_steps(plan_a, plan_b)
    count = min(len(matches), COLUMNS)
    chosen = sorted({round(k * (len(matches) - 1) / max(1, count - 1)) for k in range(count)})
    shorter = 0 if len(plan_a.run_pairs) <= len(plan_b.run_pairs) else 1
    plan = (plan_a, plan_b)[shorter]
    timesteps = [plan.run_pairs[matches[k][shorter]][0] for k in chosen]
    return tuple((matches[k], -2 * plan.schedule.log_sigma[t].item()) for k, t in zip(chosen, timesteps, strict=True))


def _cell(step: Step) -> Cell:
    return Cell(step.t, visible(step.x_t), visible(step.x_0_hat))
