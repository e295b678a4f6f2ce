"""Two runs side by side, aligned by noise level: where, and how far, they diverge.

Both begin with the same x_T if their seeds agree, since picture i's noise comes from seed + i alone. With equal step
counts they also share the noise of each step, by its index.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.errors import FieldError
from diffusion.pipeline import DDPMLabPipeline
from diffusion.plan import Plan
from diffusion.sampling import Step
from diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class Divergence:
    """The distance of two runs at about one noise level: root mean squares over all pixels of all pictures.

    numbers: the steps, from 0, of the first and of the second run. log_snr: at the step of the run with fewer steps.
    x_t: between the states before those steps; x_0_hat: between the predictions there. Pictures lie in [-1, 1].
    """

    numbers: tuple[int, int]
    log_snr: float
    x_t: float
    x_0_hat: float


@dataclass(frozen=True, eq=False)
class ComparisonStep:
    """The newest step of each run (None before its first), and the divergences measured since the previous one.

    numbers: the steps that each run has taken.
    """

    steps: tuple[Step | None, Step | None]
    numbers: tuple[int, int]
    divergences: tuple[Divergence, ...]


def check_pair(a: DDPMLabPipeline, plan_a: Plan, b: DDPMLabPipeline, plan_b: Plan) -> None:
    """Raise FieldError for two runs whose pictures cannot be laid side by side: other sizes, or other numbers."""
    if a.image_shape != b.image_shape:
        raise FieldError("checkpoint", "sizes", first=str(a.image_shape), second=str(b.image_shape))
    counts = plan_a.settings.num_images, plan_b.settings.num_images
    if counts[0] != counts[1]:
        raise FieldError("num_images", "counts", first=counts[0], second=counts[1])


def shares_step_noise(plan_a: Plan, plan_b: Plan) -> bool:
    """Whether both runs draw the same fresh noise at steps of one index.

    True if both are noisy, their seeds, step counts and start steps are equal, and neither draws the weights of a
    gaussian start before.
    """
    a, b = plan_a.settings, plan_b.settings
    is_noisy = a.effective_eta > 0 and b.effective_eta > 0 and a.start == b.start == "noise"
    return is_noisy and (a.seed, len(plan_a.pairs), a.start_step) == (b.seed, len(plan_b.pairs), b.start_step)


def matching_steps(plan_a: Plan, plan_b: Plan) -> list[tuple[int, int]]:
    """Return the steps (i, j) of two runs to compare: with equal step counts by index, else by noise level.

    By noise level, each step of the shorter run is matched with the nearest step of the longer one.
    """
    count_a, count_b = len(plan_a.run_pairs), len(plan_b.run_pairs)
    if count_a == count_b:
        return [(k, k) for k in range(count_a)]
    levels_a, levels_b = _log_sigma(plan_a), _log_sigma(plan_b)
    if count_a < count_b:
        return list(enumerate((levels_a[:, None] - levels_b).abs().argmin(1).tolist()))
    return [(i, j) for j, i in enumerate((levels_b[:, None] - levels_a).abs().argmin(1).tolist())]


def compare_runs(a: DDPMLabPipeline, plan_a: Plan, b: DDPMLabPipeline, plan_b: Plan) -> Iterator[ComparisonStep]:
    """Run both, always taking the step of the run at the noisier level (the first one in a tie).

    Yields after every step. Raises FieldError (see check_pair) before the first.
    """
    check_pair(a, plan_a, b, plan_b)
    return _interleave((a.steps(plan_a), b.steps(plan_b)), (plan_a, plan_b))


def _interleave(runs: tuple[Iterator[Step], Iterator[Step]], plans: tuple[Plan, Plan]) -> Iterator[ComparisonStep]:
    levels = [_log_sigma(plan).tolist() for plan in plans]
    matches = matching_steps(*plans)
    wanted = [{match[side] for match in matches} for side in (0, 1)]
    kept: tuple[dict[int, Step], dict[int, Step]] = ({}, {})
    newest: list[Step | None] = [None, None]
    done, measured = [0, 0], 0
    while done[0] < len(levels[0]) or done[1] < len(levels[1]):
        side = _next_side(levels, done)
        newest[side] = step = next(runs[side])
        if done[side] in wanted[side]:
            kept[side][done[side]] = step
        done[side] += 1
        divergences = []
        while measured < len(matches) and all(matches[measured][k] in kept[k] for k in (0, 1)):
            numbers = matches[measured]
            divergences.append(_divergence(numbers, (kept[0][numbers[0]], kept[1][numbers[1]]), plans))
            measured += 1
            for k in (0, 1):  # drop the steps that no later match needs
                later = matches[measured][k] if measured < len(matches) else float("inf")
                for number in [n for n in kept[k] if n < later]:
                    del kept[k][number]
        yield ComparisonStep((newest[0], newest[1]), (done[0], done[1]), tuple(divergences))


def _next_side(levels: list[list[float]], done: list[int]) -> int:
    ahead = [levels[k][done[k]] if done[k] < len(levels[k]) else float("-inf") for k in (0, 1)]
    return 0 if ahead[0] >= ahead[1] else 1


def _divergence(numbers: tuple[int, int], steps: tuple[Step, Step], plans: tuple[Plan, Plan]) -> Divergence:
    shorter = 0 if len(plans[0].run_pairs) <= len(plans[1].run_pairs) else 1
    log_sigma = plans[shorter].schedule.log_sigma[steps[shorter].t].item()
    a, b = steps
    return Divergence(numbers, -2 * log_sigma, rms(a.x_t - b.x_t), rms(a.x_0_hat - b.x_0_hat))


def rms(x: Tensor) -> float:
    """Root mean square of all elements of a tensor."""
    return x.double().square().mean().sqrt().item()


def _log_sigma(plan: Plan) -> Tensor:
    schedule: NoiseSchedule = plan.schedule
    return schedule.log_sigma[torch.tensor([t for t, _ in plan.run_pairs])]
