"""Heun's method: deterministic, second order, two network calls per step.

Karras et al. 2022 (EDM), Algorithm 1 without churn (gamma = 0), on the probability-flow ODE dy/dsigma = eps_hat in
y = x / sqrt(alpha-bar), sigma = sqrt(1 - alpha-bar) / sqrt(alpha-bar). An Euler step, which is DDIM's, leads to
sigma_s; the network gives the slope there too, and the step is taken again with the mean of both slopes. The step to
sigma = 0, where there is no slope, stays an Euler step: S steps take 2 S - 1 calls. If the run clips, the predictions
of both calls are clipped.
"""

from dataclasses import dataclass

from diffusion.samplers.base import Move, Rule, Sampler


@dataclass(frozen=True, kw_only=True)
class Heun(Sampler):
    """The sampler of EDM."""

    def rule(self, timesteps, schedule) -> Rule:
        return heun_step

    def script_step(self) -> list[str]:
        return [
            "    if s < 0:",
            "        x = x_0",
            "        continue",
            "    signal, noise = amplitudes(log_alpha_bar[s])",
            "    euler = signal * x_0 + noise * eps",
            "    _, eps_s = predict(euler, s)",
            "    signal_t, noise_t = torch.exp(0.5 * log_alpha_bar[t]), torch.expm1(log_alpha_bar[t]).abs().sqrt()",
            "    signal_s, noise_s = torch.exp(0.5 * log_alpha_bar[s]), torch.expm1(log_alpha_bar[s]).abs().sqrt()",
            "    h = noise_s - signal_s * (noise_t / signal_t)  # sigma_s - sigma_t, times sqrt(alpha-bar_s)",
            "    x = euler + (h / 2).float() * (eps_s - eps)",
        ]


def heun_step(move: Move):
    """x_s of a step: y_s = y_t + (sigma_s - sigma_t) (d_t + d_s) / 2 times signal_s, as a correction to Euler's."""
    c, d_t = move.c, move.hat.eps_hat
    if move.s < 0:
        return move.hat.x_0_hat
    euler = c.signal_s.to(d_t) * move.hat.x_0_hat + c.noise_s.to(d_t) * d_t
    d_s = move.ask(euler, move.s, c.level_s).eps_hat
    h = c.noise_s - c.signal_s * (c.noise_t / c.signal_t)
    return euler + (h / 2).to(d_t) * (d_s - d_t)


HEUN = Heun(name="heun", title="Heun", source="Karras et al. 2022, Algorithm 1 without churn", calls=2)
