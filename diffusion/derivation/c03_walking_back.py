"""Chapter 3, the way back: the parts of a step of the DDIM family, and why one network serves every eta.

Song et al. 2021 (DDIM), eq. (7), with sigma = eta sqrt(posterior variance): eta = 1 is Ho et al.'s posterior, eta = 0
adds no fresh noise. Code index t is the paper's t + 1; a step goes from t to s < t, s = -1 is the picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.derivation.c01_adding_noise import MomentScores, moment_scores
from diffusion.exact import DataDenoiser, GaussianDenoiser
from diffusion.gaussian import eps_from_x_0, q_sample, signal_and_noise, step_coefficients
from diffusion.pipeline import DDPMLabPipeline
from diffusion.samplers.ancestral import DDIM
from diffusion.samplers.base import walk
from diffusion.sampling import (
    ReverseVariance,
    Step,
    check_family,
    image_generators,
    is_noisy,
    noise_like,
)
from diffusion.schedule import NoiseSchedule, per_image
from diffusion.settings import SamplingSettings


@dataclass(frozen=True, eq=False)
class EtaParts:
    """A step of q_eta given x_0 in three parts, x_s = signal x_0 + reused eps + fresh z; float64 of one shape.

    eps is the whole noise of x_t, z is new. (reused, fresh) lies on the quarter circle of radius sqrt(1 - alpha-bar_s)
    at angle_degrees, from the axis of the reused noise: sin phi = eta sqrt(beta / (1 - alpha-bar_t)). of_x_0, of_x_t:
    the coefficients of the same mean written as of_x_0 x_0 + of_x_t x_t. weight_nats: of ||eps - eps_hat||^2 in the
    step's term of the bound, where eta changes nothing else; infinite where fresh = 0 (no KL: eta = 0, or s = -1).
    """

    signal: Tensor
    reused: Tensor
    fresh: Tensor
    radius: Tensor
    angle_degrees: Tensor
    of_x_0: Tensor
    of_x_t: Tensor
    weight_nats: Tensor


def eta_parts(t: Tensor | int, s: Tensor | int, eta: Tensor | float, schedule: NoiseSchedule) -> EtaParts:
    """Compute the parts of the steps t -> s. t, s: as in step_coefficients; eta: in [0, 1]; they broadcast.

    Several eta for one step give points of the quarter circle. Raises ValueError naming the argument.
    """
    c = step_coefficients(t, s, schedule)
    eta = torch.as_tensor(eta, dtype=torch.float64)
    if not bool(((eta >= 0) & (eta <= 1)).all()):
        raise ValueError(f"eta: must lie in [0, 1], got {eta.tolist()}")
    sine = eta * (c.beta.sqrt() / c.noise_t).clamp(max=1)  # rounding can take it above 1 at s = -1
    reused, fresh = c.noise_s * (1 - sine**2).sqrt(), c.noise_s * sine
    of_x_t = reused / c.noise_t
    alpha = (c.signal_t / c.signal_s) ** 2
    # sqrt((1 - alpha-bar_t) / alpha) - reused, as the difference of the squares over the sum, which does not cancel
    shift = (c.beta / alpha + fresh**2) / (c.noise_t / alpha.sqrt() + reused)
    return EtaParts(
        signal=c.signal_s.expand_as(fresh),
        reused=reused,
        fresh=fresh,
        radius=c.noise_s.expand_as(fresh),
        angle_degrees=torch.rad2deg(torch.asin(sine)),
        of_x_0=c.signal_s - of_x_t * c.signal_t,
        of_x_t=of_x_t,
        weight_nats=shift**2 / (2 * fresh**2),
    )


@dataclass(frozen=True, eq=False)
class EtaMarginals:
    """q_eta(x_s | x_0) = N(signal x_0, var I) and the forward process's marginals, at each s of a chain: (S,) each.

    signal, var: by recursion down the chain from q(x_t | x_0) at its start. true_signal, true_var: sqrt(alpha-bar_s)
    and 1 - alpha-bar_s. They agree given the true x_0; with a denoiser's x_0_hat the marginals differ.
    """

    signal: Tensor
    var: Tensor
    true_signal: Tensor
    true_var: Tensor

    @property
    def max_difference(self) -> float:
        """The largest absolute difference, which is rounding if the marginals agree."""
        return torch.cat([self.signal - self.true_signal, self.var - self.true_var]).abs().max().item()


def eta_marginals(
    pairs: Sequence[tuple[int, int]], eta: float, schedule: NoiseSchedule, variance: ReverseVariance = "posterior"
) -> EtaMarginals:
    """Compute the marginals of q_eta down the chain of these pairs (t, s), for eta in [0, 1].

    variance: "beta", with eta = 1 only, takes Ho et al.'s other variance instead of the family's: the marginals are
    then wider than the forward process's.
    """
    check_family(eta, variance)
    t, s = torch.tensor(pairs, dtype=torch.int64).unbind(1)
    parts = eta_parts(t, s, eta, schedule)
    fresh_var = parts.fresh**2
    if variance == "beta":
        fresh_var = torch.where(s >= 0, step_coefficients(t, s, schedule).beta, 0.0)
    signal, noise = (amplitude.item() for amplitude in signal_and_noise(pairs[0][0], schedule))
    var = noise**2
    walked = []
    for of_x_0, of_x_t, fresh in torch.stack([parts.of_x_0, parts.of_x_t, fresh_var], dim=1).tolist():
        signal, var = of_x_0 + of_x_t * signal, of_x_t**2 * var + fresh
        walked.append((signal, var))
    signals, variances = torch.tensor(walked, dtype=torch.float64).unbind(1)
    return EtaMarginals(signals, variances, parts.signal, parts.radius**2)


def oracle_moments(
    x_0: Tensor, pairs: Sequence[tuple[int, int]], eta: float, replicas: int, seed: int, schedule: NoiseSchedule
) -> MomentScores:
    """Test the same marginals by sampling: this package's DDIM with a denoiser that knows x_0 (C, H, W).

    Starts from x_t ~ q(x_t | x_0) and scores (x_s - sqrt(alpha-bar_s) x_0) / sqrt(1 - alpha-bar_s) over `replicas` runs
    at every s >= 0 of the chain; run i draws from seed + i. Raises ValueError naming the argument.
    """
    if replicas < 1:
        raise ValueError(f"replicas: must be at least 1, got {replicas}")
    if len(pairs) < 2:
        raise ValueError(f"pairs: needs a step that ends in noise, got {len(pairs)} step")
    x_0 = x_0.double()
    generators = image_generators(seed, replicas)
    copies = x_0.expand(replicas, *x_0.shape)
    x_T = q_sample(copies, torch.tensor(pairs[0][0]), noise_like(copies, generators), schedule)
    steps = walk(DDIM, GaussianDenoiser(x_0, 0.0, schedule), x_T, pairs, False, generators, eta=eta)
    standardised = (eps_from_x_0(p.x_s, copies, *signal_and_noise(p.s, schedule)) for p in steps if p.s >= 0)
    return moment_scores([s for _, s in pairs if s >= 0], standardised)


@dataclass(frozen=True, eq=False)
class StepParts:
    """A step that a sampler took, as three pictures (B, C, H, W) whose sum is its x_s."""

    signal: Tensor
    reused: Tensor
    fresh: Tensor

    @property
    def norms(self) -> Tensor:
        """Root mean squares of the three parts, for each picture: (3, B) float64."""
        parts = torch.stack([self.signal, self.reused, self.fresh])
        return parts.double().square().flatten(2).mean(2).sqrt()


def split_step(step: Step, eta: float, schedule: NoiseSchedule) -> StepParts:
    """Split the x_s of a DDIM step into sqrt(alpha-bar_s) x_0_hat, the noise that it kept, and the noise that it drew.

    The drawn noise is exactly 0 if the step drew none.
    """
    check_family(eta, "posterior")
    parts = eta_parts(step.t, step.s, eta, schedule)
    signal = per_image(parts.signal, step.x_0_hat) * step.x_0_hat
    reused = per_image(parts.reused, step.eps_hat) * step.eps_hat
    drawn = is_noisy(step.s, eta)
    return StepParts(signal, reused, step.x_s - signal - reused if drawn else torch.zeros_like(step.x_s))


@dataclass(frozen=True, eq=False)
class EtaSnapshot:
    """One run at one of its steps. number: the step's place, from 0, among the steps of the run."""

    eta: float
    number: int
    step: Step
    parts: StepParts


def eta_runs(
    pipeline: DDPMLabPipeline,
    settings: SamplingSettings,
    etas: Sequence[float] = (1.0, 0.5, 0.0),
    snapshots: int = 5,
) -> Iterator[EtaSnapshot]:
    """Run one x_T under several eta, all runs one step at a time, so that their rows grow together.

    settings: of the run; only its sampler, reverse variance and eta are replaced, so each row is the picture that the
    resulting settings give alone. Yields at `snapshots` steps, evenly spread from the first to the last (at every step
    if there are fewer), for each eta in turn. Raises ValueError, naming the field, before the first.
    """
    if not etas:
        raise ValueError("etas: needs at least one")
    if snapshots < 1:
        raise ValueError(f"snapshots: must be at least 1, got {snapshots}")
    rows = [settings.replace(sampler="ddim", reverse_variance="posterior", eta=eta) for eta in etas]
    plan = pipeline.plan(rows[0])
    runs = [pipeline.steps(row) for row in rows]
    return _snapshots(runs, [row.eta for row in rows], snapshots, len(plan.run_pairs), plan.schedule)


def exact_eta_runs(
    pictures: Tensor,
    pairs: Sequence[tuple[int, int]],
    seed: int,
    schedule: NoiseSchedule,
    etas: Sequence[float] = (1.0, 0.5, 0.0),
    snapshots: int = 5,
) -> Iterator[EtaSnapshot]:
    """Run the same for one picture, with the exact denoiser of `pictures` (N, C, H, W) in place of the network.

    x_T is that of a run with this seed. Nothing needs clipping: the denoiser returns means of the pictures, and every
    row ends in one of them. Raises ValueError, naming the argument, before the first.
    """
    denoiser = DataDenoiser(pictures, schedule)
    runs = []
    for eta in etas:
        generators = image_generators(seed, 1)
        x_T = noise_like(torch.empty(1, *pictures.shape[1:]), generators)
        runs.append(walk(DDIM, denoiser, x_T, pairs, False, generators, eta=eta))
    return _snapshots(runs, etas, snapshots, len(pairs), schedule)


def _snapshots(runs, etas, snapshots: int, count: int, schedule) -> Iterator[EtaSnapshot]:
    last = count - 1
    wanted = {last} if snapshots == 1 else {round(last * k / (snapshots - 1)) for k in range(snapshots)}
    for number, steps in enumerate(zip(*runs, strict=True)):
        if number in wanted:
            for eta, step in zip(etas, steps, strict=True):
                yield EtaSnapshot(eta, number, step, split_step(step, eta, schedule))
