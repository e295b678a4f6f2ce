"""The forward process q: the betas, and everything that follows from them.

The whole package is built on one quantity, `alphas_cumprod` (the paper's alpha-bar), kept as its logarithm in float64.
Arrays are 0-based as in diffusers: index 0 is the paper's t = 1. Index -1 is the picture itself, where alpha-bar = 1.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self, get_args

import torch
from torch import Tensor

from diffusion.errors import FieldError, shortened
from diffusion.words import BetaScheduleName

MAX_COSINE_BETA = 0.999  # Nichol & Dhariwal 2021, sec. 3.2: keeps the last step from being a division by zero
COSINE_OFFSET = 0.008  # ibid.: keeps the first betas from being too small
SIGMOID_RANGE = 6.0  # diffusers' DDPMScheduler: sigmoid over [-6, 6]


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """A variance-preserving forward process: Ho et al. 2020, eqs. (2) and (4).

    betas: (T,) float64, each in (0, 1), T >= 2, and alpha-bar at the end must not underflow to 0 in float64. Every
    derived array is (T,) float64 on the CPU. Raises FieldError for betas out of range.
    """

    betas: Tensor

    def __post_init__(self):
        betas = torch.as_tensor(self.betas, dtype=torch.float64, device="cpu").detach().clone()
        object.__setattr__(self, "betas", betas)
        if betas.ndim != 1 or len(betas) < 2:
            raise FieldError("num_train_timesteps", "few_betas", shape=str(tuple(betas.shape)))
        if not bool(((betas > 0) & (betas < 1)).all()):  # also refuses NaN
            raise FieldError("betas", "betas", least=f"{betas.min().item():g}", most=f"{betas.max().item():g}")
        if math.exp(self.log_alphas_cumprod[-1]) == 0:
            raise FieldError("betas", "too_noisy")

    @classmethod
    def named(
        cls,
        beta_schedule: BetaScheduleName = "linear",
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        num_train_timesteps: int = 1000,
    ) -> Self:
        """Return a schedule by diffusers' name.

        The cosine one, "squaredcos_cap_v2", does not use beta_start and beta_end. 0 < beta_start <= beta_end < 1;
        num_train_timesteps (T) >= 2. Raises FieldError.
        """
        if beta_schedule not in get_args(BetaScheduleName):
            known = ", ".join(get_args(BetaScheduleName))
            raise FieldError("beta_schedule", "unknown", got=shortened(beta_schedule), choices=known)
        if isinstance(num_train_timesteps, bool) or not isinstance(num_train_timesteps, int):
            raise FieldError.of("num_train_timesteps", "whole_number", num_train_timesteps)
        if num_train_timesteps < 2:
            raise FieldError("num_train_timesteps", "at_least", bound=2, got=num_train_timesteps)
        if not 0 < beta_start < 1:
            raise FieldError("beta_start", "within", range="(0, 1)", got=beta_start)
        if not beta_start <= beta_end < 1:
            raise FieldError("beta_end", "beta_end", least=beta_start, got=beta_end)
        T = num_train_timesteps
        if beta_schedule == "linear":
            betas = _linspace(beta_start, beta_end, T)
        elif beta_schedule == "scaled_linear":
            betas = _linspace(math.sqrt(beta_start), math.sqrt(beta_end), T) ** 2
        elif beta_schedule == "sigmoid":
            rise = torch.sigmoid(_linspace(-SIGMOID_RANGE, SIGMOID_RANGE, T))
            betas = rise * (beta_end - beta_start) + beta_start
        else:
            u = torch.arange(T + 1, dtype=torch.float64) / T
            alphas_cumprod = torch.cos((u + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2
            betas = (1 - alphas_cumprod[1:] / alphas_cumprod[:-1]).clamp(max=MAX_COSINE_BETA)
        return cls(betas)

    @classmethod
    def from_scheduler_config(cls, config) -> Self:
        """Return the schedule that a diffusers scheduler's config describes (`scheduler_config.json`).

        Raises FieldError for values out of range and for rescale_betas_zero_snr.
        """
        if config.get("rescale_betas_zero_snr"):
            raise FieldError("rescale_betas_zero_snr", "zero_snr")
        if config.get("trained_betas") is not None:
            return cls(torch.as_tensor(config["trained_betas"], dtype=torch.float64))
        fields = ("beta_schedule", "beta_start", "beta_end", "num_train_timesteps")
        return cls.named(**{field: config[field] for field in fields})

    def __len__(self) -> int:
        return len(self.betas)

    @cached_property
    def log_alphas_cumprod(self) -> Tensor:
        """log of alpha-bar, summed as log1p(-beta): exact where 1 - alpha-bar is tiny."""
        return torch.log1p(-self.betas).cumsum(0)

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """Alpha-bar: the share of the picture's variance left at each t, in (0, 1), falling."""
        return self.log_alphas_cumprod.exp()

    @cached_property
    def log_sigma(self) -> Tensor:
        """log sqrt((1 - alpha-bar) / alpha-bar), the noise level on the scale of EDM and k-diffusion; rising."""
        return 0.5 * (torch.log(-torch.expm1(self.log_alphas_cumprod)) - self.log_alphas_cumprod)

    @cached_property
    def snr(self) -> Tensor:
        """alpha-bar / (1 - alpha-bar), the signal-to-noise ratio (a ratio of variances); falling."""
        return torch.exp(-2 * self.log_sigma)

    def log_alpha_bar(self, t: Tensor | int) -> Tensor:
        """log of alpha-bar at integer t in [-1, T), where t = -1 is the picture itself and gives 0.

        t: int or integer tensor of any shape. Returns float64 of that shape. Raises ValueError outside [-1, T).
        """
        t = torch.as_tensor(t, device="cpu")
        if t.is_floating_point():
            raise ValueError("t: must be an integer timestep")
        if t.numel() and not -1 <= int(t.min()) <= int(t.max()) < len(self):
            raise ValueError(f"t: must lie in [-1, {len(self)}), got {int(t.min())} to {int(t.max())}")
        return self._log_alphas_cumprod_and_zero[t.long()]

    @cached_property
    def _log_alphas_cumprod_and_zero(self) -> Tensor:
        return torch.cat([self.log_alphas_cumprod, torch.zeros(1, dtype=torch.float64)])  # [-1] is the last one: log 1

    def log_sigma_at(self, t: Tensor | float) -> Tensor:
        """log sigma at a fractional timestep in [0, T-1]: linear between its neighbours; the inverse of timestep_of.

        t: any shape. Returns float64 of that shape; at integers log_sigma[t] to the last bit. Raises ValueError outside
        [0, T-1].
        """
        t = torch.as_tensor(t, dtype=torch.float64)
        if t.numel() and not 0 <= t.min().item() <= t.max().item() <= len(self) - 1:
            raise ValueError(f"t: must lie in [0, {len(self) - 1}], got {t.min().item():g} to {t.max().item():g}")
        left = t.floor().long()
        right = t.ceil().long()
        return torch.lerp(self.log_sigma[left], self.log_sigma[right], t - left)

    def timestep_of(self, log_sigma: Tensor) -> Tensor:
        """Return the fractional timestep whose noise level is log_sigma; linear in log sigma between integer t.

        log_sigma: any shape. Returns float64 of that shape in [0, T-1]; levels outside the schedule's give its ends.
        Raises ValueError for NaN.
        """
        level = torch.as_tensor(log_sigma, dtype=torch.float64)
        if bool(level.isnan().any()):
            raise ValueError("log_sigma: is not a number")
        grid = self.log_sigma
        right = torch.searchsorted(grid, level.contiguous()).clamp(1, len(self) - 1)
        share = (level - grid[right - 1]) / (grid[right] - grid[right - 1])
        return (right - 1) + share.clamp(0, 1)


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """Reshape one number per image to a factor for a batch: (B,) -> (B, 1, 1, 1) and () -> (1, 1, 1, 1).

    In the dtype and on the device of `like`.
    """
    return values.to(device=like.device, dtype=like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def _linspace(start: float, end: float, count: int) -> Tensor:
    return torch.linspace(start, end, count, dtype=torch.float64)
