"""Chapter 5, three forms of one bound, and the limit of its last term as the first beta goes to 0.

F1: Ho et al. 2020, eq. (3). F2: their eq. (5), the bound as it is computed. F3: the same averaged over the data, with
q(x_s | x_t) in place of q(x_s | x_t, x_0). Code index t is the paper's t + 1, s = -1 is x_0; steps (t, s) go from noisy
to clean, so the last one is the decoder. Lower is better.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.bound import bits_per_dim, kl_nats_per_dim, prior_nats
from diffusion.derivation.c02_the_goal import GaussianToy
from diffusion.derivation.c04_bringing_in_x0 import form_offsets
from diffusion.gaussian import step_coefficients
from diffusion.likelihood import gaussian_nats
from diffusion.pixels import HALF_BIN
from diffusion.schedule import NoiseSchedule

REACH_STD = 9  # grey levels more than 9 standard deviations from a noisy one weigh less than 1e-17
FINE, COARSE = 1024, 16  # points over one grey level, see _one_pixel


@dataclass(frozen=True, eq=False)
class BoundForm:
    """One way to write the bound. The function that makes it fixes the unit.

    start: the cost of x_T. steps: (S,), one term per step, the last one the decoder's. rest: the cost that belongs to
    no step.
    """

    start: float
    steps: Tensor
    rest: float = 0.0

    @property
    def total(self) -> float:
        """The bound, which is the same in every form."""
        return self.start + self.steps.sum().item() + self.rest


@dataclass(frozen=True, eq=False)
class BoundForms:
    """The bound in three forms, in nats, with the steps t, s: (S,) of the chain.

    first: E[-log p(x_T)] and E log q(x_t | x_s) / p(x_s | x_t), which can be negative. second: L_T, the KLs L_{t-1}
    and L_0. third: KL(q(x_T) || p(x_T)), E KL(q(x_s | x_t) || p(x_s | x_t)), and the entropy of the data as rest.
    """

    t: Tensor
    s: Tensor
    first: BoundForm
    second: BoundForm
    third: BoundForm

    @property
    def information_nats(self) -> Tensor:
        """second - third, step by step: (S,). I(x_0; x_s | x_t) for s >= 0, which no model can save.

        At the last step it is H(x_0 | x_t).
        """
        return self.second.steps - self.third.steps


def gaussian_forms(toy: GaussianToy, std: float, schedule: NoiseSchedule) -> BoundForms:
    """Compute all three forms for the toy of chapter 2: x_0 ~ N(0, std^2), one dimension, a density as decoder.

    toy: c02_the_goal.gaussian_toy with this std and schedule. The first form is computed from its own expectations,
    E (x_s - slope x_t)^2 over the forward chain, not from the second.
    """
    c = step_coefficients(toy.t, toy.s, schedule)
    var_t, var_s = (
        (signal * std) ** 2 + noise**2 for signal, noise in ((c.signal_t, c.noise_t), (c.signal_s, c.noise_s))
    )
    slope = c.c_0 * c.signal_t * std**2 / var_t + c.c_t
    # x_s - slope x_t with x_t = forward x_s + sqrt(beta) eps, as a sum of two squares: nothing cancels
    forward = c.signal_t / c.signal_s
    miss = (1 - slope * forward).square() * var_s + slope.square() * c.beta
    forward_nats = gaussian_nats(c.beta.sqrt(), 0.0, c.beta)  # E -log q(x_t | x_s)
    return BoundForms(
        t=toy.t,
        s=toy.s,
        first=BoundForm(
            start=gaussian_nats(var_t[0].sqrt(), 0.0, 1.0).item(),
            steps=gaussian_nats(miss.sqrt(), 0.0, toy.reverse_var) - forward_nats,
        ),
        second=BoundForm(
            start=toy.prior_nats,
            steps=torch.cat([toy.steps_nats, torch.tensor([toy.decoder_nats], dtype=torch.float64)]),
        ),
        third=BoundForm(start=toy.path_nats[0].item(), steps=toy.path_nats[1:], rest=toy.entropy_nats),
    )


def first_from_second(second_bpd: BoundForm, pairs: list[tuple[int, int]], schedule: NoiseSchedule) -> BoundForm:
    """Convert a bound measured in the second form to the first, term by term, in bits per dimension.

    second_bpd: start L_T, steps (S,) L_{t-1} and L_0, for the chain of these pairs (t, s). Only the offsets of
    c04_bringing_in_x0.form_offsets are added; they sum to 0, so the totals agree. Raises ValueError unless there is one
    term for each pair.
    """
    if len(second_bpd.steps) != len(pairs):
        raise ValueError(f"second_bpd: needs one term for each of the {len(pairs)} steps, got {len(second_bpd.steps)}")
    offsets = form_offsets(pairs, schedule)
    decoder = torch.tensor([offsets.decoder_bpd], dtype=torch.float64)
    return BoundForm(
        start=second_bpd.start + offsets.prior_bpd,
        steps=second_bpd.steps + torch.cat([offsets.steps_bpd, decoder]),
        rest=second_bpd.rest,
    )


def prior_bpd(second_moment: float, schedule: NoiseSchedule) -> float:
    """L_T in bits per dimension, for pictures with mean square second_moment >= 0. It has no theta.

    That holds because the betas and p(x_T) are fixed, whatever the first beta is. Raises ValueError for a second_moment
    that is negative or not finite.
    """
    if not 0 <= second_moment < math.inf:
        raise ValueError(f"second_moment: must be finite and not negative, got {second_moment}")
    root_mean_square = torch.full((1, 1, 1, 1), math.sqrt(second_moment), dtype=torch.float64)
    return bits_per_dim(prior_nats(root_mean_square, len(schedule) - 1, schedule).item(), 1)


@dataclass(frozen=True, eq=False)
class FirstBeta:
    """The last two terms of one pixel's bound against the first beta, in bits per dimension; each (n,).

    L_1_bpd: the step from the paper's t = 2, with the best mean and the best constant variance. L_0_bpd: the entropy
    H(x_0 | x_1), which the best decoder reaches. floor_bpd: H(x_0 | x_2), below which no model of the two steps goes.
    """

    beta_1: Tensor
    L_1_bpd: Tensor
    L_0_bpd: Tensor
    floor_bpd: Tensor

    @property
    def sum_bpd(self) -> Tensor:
        """L_1 + L_0, at least floor_bpd."""
        return self.L_1_bpd + self.L_0_bpd


def first_beta(beta_1: Tensor, schedule: NoiseSchedule) -> FirstBeta:
    """Compute one pixel's L_1 and L_0 over beta_1: what beta_1 = 0 saves in L_0, it costs in L_1.

    "The bits move, they don't vanish". beta_1: (n,) in [0, 1), in place of the schedule's first beta; the second stays.
    The pixel is uniform over grey levels and far from black and white. At beta_1 = 0, which a NoiseSchedule refuses,
    x_1 is x_0: L_0 = 0 and L_1 is infinite. Raises ValueError outside [0, 1).
    """
    beta_1 = torch.as_tensor(beta_1, dtype=torch.float64)
    if not bool(((beta_1 >= 0) & (beta_1 < 1)).all()):
        raise ValueError(f"beta_1: must lie in [0, 1), got {beta_1.min().item():g} to {beta_1.max().item():g}")
    beta_2 = schedule.betas[1].item()
    rows = []
    for first in beta_1.tolist():
        alpha_bar_1, var_1 = 1 - first, first
        alpha_bar_2, var_2 = alpha_bar_1 * (1 - beta_2), first + beta_2 * (1 - first)
        decoder, _ = _one_pixel(var_1 / alpha_bar_1)
        floor, mse = _one_pixel(var_2 / alpha_bar_2)
        delta = alpha_bar_1 * beta_2 / (var_1 * var_2) if first > 0 else math.inf
        u = torch.tensor(delta * mse, dtype=torch.float64)
        rows.append([kl_nats_per_dim(u, 1 / (1 + u)).item() if first > 0 else math.inf, decoder, floor])
    L_1, L_0, floor = bits_per_dim(torch.tensor(rows, dtype=torch.float64).T, 1)
    return FirstBeta(beta_1, L_1, L_0, floor)


def _one_pixel(noise_var: float) -> tuple[float, float]:
    """(H(x_0 | y) in nats, E Var[x_0 | y]) for x_0 on an endless row of grey levels and y = x_0 + N(0, noise_var).

    Integrates by trapezoids over y within one grey level, where the integrands are periodic. With noise of a level's
    width or more, they are constant except for terms of exp(-2 pi^2), so few points suffice; with narrower noise they
    bend on the scale of that noise, which takes more points.
    """
    std = math.sqrt(noise_var) / (2 * HALF_BIN)  # in grey levels
    if std == 0:
        return 0.0, 0.0
    points = FINE if std < 1 else COARSE
    y = (torch.arange(points, dtype=torch.float64) / points - 0.5).unsqueeze(1)
    reach = math.ceil(REACH_STD * std) + 1
    levels = torch.arange(-reach, reach + 1, dtype=torch.float64)
    log_joint = -gaussian_nats(y, levels, std**2)  # (points, levels)
    share = torch.exp(torch.logsumexp(log_joint, dim=1)) / points
    weights = torch.softmax(log_joint, dim=1)
    mean = (weights * levels).sum(1, keepdim=True)
    entropy = torch.special.entr(weights).sum(1)
    var = (weights * (levels - mean).square()).sum(1)
    return (share @ entropy).item(), (share @ var).item() * (2 * HALF_BIN) ** 2
