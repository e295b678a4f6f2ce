"""A plan: a run's settings combined with a checkpoint's facts, which are checked against each other only here."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.errors import FieldError
from diffusion.samplers.base import Sampler
from diffusion.samplers.registry import SAMPLERS
from diffusion.schedule import NoiseSchedule
from diffusion.settings import SamplingSettings
from diffusion.start import VISIBLE_SIGNAL
from diffusion.timestep_matching import conditioned_timesteps
from diffusion.trajectory import pairs, visited_timesteps
from diffusion.words import COSINE


@dataclass(frozen=True, eq=False)
class NoiseLevels:
    """The noise at each visited timestep, as log sigma (see NoiseSchedule), all (S,) float64.

    actual: in the pictures that the network receives. conditioned: in its training pictures at the timestep that it is
    conditioned on.
    """

    t: Tensor
    actual: Tensor
    conditioned: Tensor

    @property
    def mismatch(self) -> Tensor:
        """Conditioned over actual sigma: 1 if they agree, below 1 if the network removes too little noise."""
        return torch.exp(self.conditioned - self.actual)


@dataclass(frozen=True)
class Plan:
    """What a run will do, before any network is called.

    schedule: the run's own, or `trained` itself if the run's betas are the trained ones. pairs: all S steps (t, s), of
    which the run skips the first settings.start_step. class_labels: one per image, or None for a network without
    labels.
    """

    settings: SamplingSettings
    trained: NoiseSchedule
    schedule: NoiseSchedule
    pairs: tuple[tuple[int, int], ...]
    class_labels: tuple[int, ...] | None

    @property
    def sampler(self) -> Sampler:
        """The sampler that takes the steps."""
        return SAMPLERS[self.settings.sampler]

    @property
    def calls(self) -> int:
        """Number of network calls in the run."""
        return self.calls_after(len(self.run_pairs))

    def calls_after(self, steps: int) -> int:
        """Return the number of network calls in the run's first `steps` steps."""
        return sum(self.sampler.calls_of(s) for _, s in self.run_pairs[:steps])

    @property
    def is_guided(self) -> bool:
        """Whether every call has two halves, which guidance mixes."""
        return self.settings.class_label is not None and self.settings.guidance_scale not in (0, 1)

    @property
    def evaluations(self) -> int:
        """Number of pictures that go through the network in the whole run, counting both halves of guidance."""
        return self.calls * self.settings.num_images * (2 if self.is_guided else 1)

    @property
    def run_pairs(self) -> tuple[tuple[int, int], ...]:
        """The steps (t, s) that the run takes."""
        return self.pairs[self.settings.start_step :]

    @property
    def on_trained_betas(self) -> bool:
        """Whether the run uses the noise schedule of the training."""
        return self.schedule is self.trained

    @property
    def noise_levels(self) -> NoiseLevels:
        """Noise levels at the run's steps, in order."""
        t = torch.tensor([t for t, _ in self.run_pairs], dtype=torch.float64)
        conditioned = t
        if not self.on_trained_betas:
            conditioned = conditioned_timesteps(t, self.schedule, self.trained, self.settings.conditioning)
        return NoiseLevels(t, self.schedule.log_sigma_at(t), self.trained.log_sigma_at(conditioned))

    @property
    def signal_left(self) -> float:
        """sqrt(alpha-bar) at the first timestep: the share of a picture's amplitude there, which pure noise lacks."""
        return self.schedule.alphas_cumprod[self.run_pairs[0][0]].sqrt().item()

    @property
    def lacks_signal(self) -> bool:
        """Whether the run starts from pure noise where a visible share of the picture should be left."""
        return self.settings.start == "noise" and self.signal_left > VISIBLE_SIGNAL

    @property
    def conditioned_labels(self) -> tuple[int | None, ...]:
        """The class that each image is conditioned on; None without one, or where guidance 0 ignores it."""
        count, label = self.settings.num_images, self.settings.class_label
        if label is None or self.settings.guidance_scale == 0:
            return (None,) * count
        return label if isinstance(label, tuple) else (label,) * count


def plan_run(
    settings: SamplingSettings, scheduler_config: Mapping, classes: int = 0, checkpoint: str | None = None
) -> Plan:
    """Check a run against a checkpoint and return its plan. Raises FieldError.

    scheduler_config: of the checkpoint's diffusers scheduler. classes: 0 for a network without labels. checkpoint: its
    name, if it has one.
    """
    if None not in (settings.checkpoint, checkpoint) and settings.checkpoint != checkpoint:
        raise FieldError("checkpoint", "other_checkpoint", own=settings.checkpoint, other=checkpoint)
    trained = NoiseSchedule.from_scheduler_config(scheduler_config)
    timesteps = visited_timesteps(settings.num_inference_steps, len(trained), settings.timestep_spacing)
    labels = _labels(settings, classes)
    return Plan(
        settings=settings,
        trained=trained,
        schedule=run_schedule(settings, scheduler_config, trained),
        pairs=tuple(pairs(timesteps)),
        class_labels=labels,
    )


def run_schedule(settings: SamplingSettings, scheduler_config: Mapping, trained: NoiseSchedule) -> NoiseSchedule:
    """Return the noise schedule of a run; T and the beta settings that are left out are as trained.

    Returns `trained` itself if the betas come out the same. Raises FieldError.
    """
    if not settings.has_own_betas:
        return trained
    beta_schedule = settings.beta_schedule
    if beta_schedule is None:
        if scheduler_config.get("trained_betas") is not None:
            raise FieldError("beta_schedule", "given_betas")
        beta_schedule = scheduler_config["beta_schedule"]
        if beta_schedule == COSINE:
            raise FieldError("beta_start, beta_end", "trained_no_range")
    beta_start = scheduler_config["beta_start"] if settings.beta_start is None else settings.beta_start
    beta_end = scheduler_config["beta_end"] if settings.beta_end is None else settings.beta_end
    schedule = NoiseSchedule.named(beta_schedule, beta_start, beta_end, len(trained))
    return trained if bool((schedule.betas == trained.betas).all()) else schedule


def _labels(settings: SamplingSettings, classes: int) -> tuple[int, ...] | None:
    label = settings.class_label
    if not classes:
        if label is not None:
            raise FieldError("class_label", "no_classes", got=str(label))
        return None
    if label is None:
        return (classes,) * settings.num_images  # the network's last label means "no class"
    labels = label if isinstance(label, tuple) else (label,) * settings.num_images
    if max(labels) >= classes:
        raise FieldError("class_label", "within", range=f"[0, {classes})", got=max(labels))
    return labels
