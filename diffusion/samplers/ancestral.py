"""DDPM and DDIM: one family in eta; each step keeps a part of the old noise and adds fresh noise.

Song et al. 2021 (DDIM), eq. (12), with sigma = eta sqrt(posterior variance). eta = 1 is Ho et al. 2020, Algorithm 2,
with the posterior variance, and also the "Euler ancestral" of k-diffusion and diffusers: in y = x / sqrt(alpha-bar) and
sigma = sqrt(1 - alpha-bar) / sqrt(alpha-bar), its sigma_up^2 = sigma_s^2 (sigma_t^2 - sigma_s^2) / sigma_t^2 is that
variance. Ho et al.'s other variance, beta, is not in the family (it widens the marginals); it goes with the mean of
eta = 1.
"""

from dataclasses import dataclass

from diffusion.samplers.base import Move, Rule, Sampler


@dataclass(frozen=True, kw_only=True)
class Ancestral(Sampler):
    """A sampler of the family, with an eta of its own or the setting's; its mean is reverse_mean_and_std's."""

    def rule(self, timesteps, schedule, eta=None, reverse_variance="posterior") -> Rule:
        from diffusion.sampling import check_family, reverse_mean_and_std
        from diffusion.schedule import per_image

        eta = self.eta_of(eta)
        check_family(eta, reverse_variance)

        def step(move: Move):
            mean, std = reverse_mean_and_std(move.hat, move.c, eta, reverse_variance)
            return mean + per_image(std, mean) * move.noise() if std > 0 else mean

        return step

    def script_step(self, eta=None, reverse_variance="posterior") -> list[str]:
        eta = self.eta_of(eta)
        log_s = "    log_s = log_alpha_bar[s] if s >= 0 else torch.zeros((), dtype=torch.float64)"
        if eta == 0:
            return [log_s, "    signal, noise = amplitudes(log_s)", "    x = signal * x_0 + noise * eps"]
        fresh = "beta" if reverse_variance == "beta" else "family_var"
        square = "" if eta == 1 else f"{eta!r} ** 2 * "
        return [
            log_s,
            "    var_t, var_s = torch.expm1(log_alpha_bar[t]).abs(), torch.expm1(log_s).abs()",
            "    beta = torch.expm1(log_alpha_bar[t] - log_s).abs()",
            f"    family_var = {square}(beta * var_s / var_t)",
            "    reused = (var_s.sqrt() ** 2 - family_var).clamp(min=0).sqrt().float()",
            "    x = torch.exp(0.5 * log_s).float() * x_0 + reused * eps",
            "    if s >= 0:",
            f"        x = x + {fresh}.sqrt().float() * draw()",
        ]


DDIM = Ancestral(name="ddim", title="DDIM", source="Song et al. 2021", reads=frozenset({"eta"}), eta=None)
DDPM = Ancestral(
    name="ddpm", title="DDPM", source="Ho et al. 2020, Algorithm 2", reads=frozenset({"reverse_variance"}), eta=1.0
)
