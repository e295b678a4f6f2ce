"""The denoiser protocol, and a diffusers U-Net behind it. Samplers and bound accept any denoiser."""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from diffusion.engines.base import Engine, TorchEngine
from diffusion.gaussian import Level, Prediction, PredictionType, level_at, prediction_from_output
from diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class Description:
    """What computes a denoiser's answers, for the record of a run.

    engine: the package that computes, see diffusion.engines.base.Engine; threads: CPU threads; precision: of the
    arithmetic, as torch names it ("float32"). guided: two answers are mixed by a guidance scale, so the denoiser is not
    a likelihood model. checkpoint_sha256: of the folder that the network was read from (see checkpoint_sha256 in
    diffusion/checkpoint.py); None for a network that came otherwise.
    """

    kind: Literal["network", "data", "gaussian", "mixture"]
    engine: str
    threads: int
    precision: str
    guided: bool = False
    checkpoint_sha256: str | None = None


class Denoiser(Protocol):
    """x_0_hat(x_t, t) and eps_hat(x_t, t): the expected picture and the expected noise in x_t.

    `schedule` defines the noise level of each timestep.
    """

    schedule: NoiseSchedule

    @property
    def description(self) -> Description: ...

    def predict(self, x_t: Tensor, t: float, level: Level | None = None) -> Prediction:
        """Return the prediction at timestep t for the whole batch x_t: (B, C, H, W).

        t: in [0, T-1], possibly fractional. level: the noise level of x_t, if it is not t's own; the denoiser is still
        conditioned on t, and its answer is converted with the amplitudes of `level`.
        """
        ...


class NetworkDenoiser:
    """A diffusers U-Net as a Denoiser.

    class_labels: (B,) int64, or (1,) for one class in all pictures, or None without labels; the network's last label
    means "no class". guidance_scale: w in output = unconditional + w (conditional - unconditional), Ho & Salimans 2022
    (their w is w - 1): 1 uses the conditional network alone, 0 the unconditional one; any other w runs both halves in
    one call. engine: computes the network; by default the network itself. Raises ValueError for labels that do not fit
    the network, and for guidance without labels.
    """

    def __init__(
        self,
        unet,
        schedule: NoiseSchedule,
        prediction_type: PredictionType = "epsilon",
        class_labels: Tensor | None = None,
        guidance_scale: float = 1.0,
        engine: Engine | None = None,
        checkpoint_sha256: str | None = None,
    ):
        embeddings = unet.config.num_class_embeds
        if (class_labels is None) != (embeddings is None):
            raise ValueError("class_labels: needed exactly where the network was trained with labels")
        if class_labels is None and guidance_scale != 1:
            raise ValueError("guidance_scale: has no meaning for a network without labels")
        if class_labels is not None and not 0 <= int(class_labels.min()) <= int(class_labels.max()) < embeddings:
            raise ValueError(f"class_labels: must lie in [0, {embeddings}), got {class_labels.tolist()}")
        self.unet = unet
        self.schedule = schedule
        self.prediction_type = prediction_type
        self.class_labels = class_labels
        self.guidance_scale = guidance_scale
        self.engine = engine or TorchEngine(unet)
        self.checkpoint_sha256 = checkpoint_sha256

    @property
    def description(self) -> Description:
        """The engine's name, threads and precision at this moment."""
        return Description(
            kind="network",
            engine=self.engine.name,
            threads=self.engine.threads,
            precision=self.engine.precision,
            guided=self.guidance_scale not in (0, 1),
            checkpoint_sha256=self.checkpoint_sha256,
        )

    @torch.no_grad()
    def predict(self, x_t: Tensor, t: float, level: Level | None = None) -> Prediction:
        """See Denoiser."""
        output = self._output(x_t, float(t))
        return prediction_from_output(output, x_t, level or level_at(t, self.schedule), self.prediction_type)

    def _output(self, x_t: Tensor, t: float) -> Tensor:
        if self.class_labels is None:
            return self._call(x_t, t)
        conditional = self.class_labels.to(x_t.device).expand(len(x_t))
        unconditional = torch.full_like(conditional, self.unet.config.num_class_embeds - 1)
        if self.guidance_scale == 1:
            return self._call(x_t, t, conditional)
        if self.guidance_scale == 0:
            return self._call(x_t, t, unconditional)
        both = self._call(torch.cat([x_t, x_t]), t, torch.cat([unconditional, conditional]))
        without, with_class = both.chunk(2)
        return without + self.guidance_scale * (with_class - without)

    def _call(self, x_t: Tensor, t: float, class_labels: Tensor | None = None) -> Tensor:
        timesteps = torch.full((len(x_t),), t, device=x_t.device)  # a tensor: Python floats are truncated to integers
        return self.engine(x_t, timesteps, class_labels)
