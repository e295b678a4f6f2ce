"""The diffusers pipeline of this program: a generator of steps, and __call__ on top of it."""

import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, DiffusionPipeline, ImagePipelineOutput, UNet2DModel
from torch import Tensor

from diffusion.checkpoint import (
    CheckpointError,
    check_network,
    check_scheduler,
    checkpoint_sha256,
    load_checkpoint,
    sketch_checkpoint,
    weight_files,
)
from diffusion.checkpoint_config import sample_shape
from diffusion.denoisers import Denoiser, NetworkDenoiser
from diffusion.engines.base import Engine, EngineError, TorchEngine
from diffusion.engines.gpu import gpu_engine
from diffusion.engines.onnx import kept_engine, onnx_engine
from diffusion.pixels import to_pictures
from diffusion.plan import Plan, plan_run
from diffusion.samplers.base import walk
from diffusion.sampling import Step, image_generators, is_noisy, noise_like
from diffusion.settings import SamplingSettings
from diffusion.start import gaussian_start, start_pictures
from diffusion.timestep_matching import RescheduledDenoiser

logger = logging.getLogger(__name__)


class DDPMLabPipeline(DiffusionPipeline):
    """Pipeline for unconditional or class-conditional pictures, correct for every step count and beta range.

    Only the betas and the prediction type of the scheduler are used; the steps are those of diffusion/samplers/. Loads
    and saves diffusers' own classes, a UNet2DModel and a DDPMScheduler or DDIMScheduler; raises CheckpointError for
    others.
    """

    model_cpu_offload_seq = "unet"

    def __init__(self, unet: UNet2DModel, scheduler: DDPMScheduler | DDIMScheduler):
        super().__init__()
        check_network(unet)
        if not isinstance(scheduler, DDPMScheduler | DDIMScheduler):
            raise CheckpointError("scheduler", "not_scheduler", kind=type(scheduler).__name__)
        check_scheduler(scheduler.config)
        self.register_modules(unet=unet, scheduler=scheduler)
        self.checkpoint: str | None = None
        self._folder: Path | None = None
        self._sha256: str | None = None
        self.engine: Engine = TorchEngine(self.unet)

    @classmethod
    def from_checkpoint(cls, folder: str | Path) -> Self:
        """Load a local checkpoint folder; `checkpoint` is the folder's name. Raises CheckpointError (a ValueError).

        from_pretrained works too; this one checks every file first, reads safetensors only, and never downloads.
        """
        sha256 = _sha256(folder)  # before loading, so that a folder replaced meanwhile is noticed later
        return cls(*load_checkpoint(folder))._named(folder, sha256)

    @classmethod
    def from_kept_engine(cls, folder: str | Path) -> Self | None:
        """Return `from_checkpoint(folder).fast().without_weights()`, built faster from a cached engine.

        None if no engine is cached, or if there is a GPU, whose engine is faster. Raises CheckpointError (a
        ValueError).
        """
        if torch.cuda.is_available():
            return None
        sha256 = _sha256(folder)
        unet, scheduler = sketch_checkpoint(folder)
        engine = kept_engine(unet, weight_files(Path(folder)))
        return cls(unet, scheduler)._named(folder, sha256).with_engine(engine).without_weights() if engine else None

    def _named(self, folder: str | Path, sha256: str | None) -> Self:
        self._folder = Path(folder).resolve()
        self._sha256 = sha256
        self.checkpoint = self._folder.name
        return self

    def save_pretrained(self, save_directory: str | Path, **kwargs) -> None:
        """Write a folder that diffusers' own DDPMPipeline loads without this program."""
        unet = self.with_weights().unet
        DDPMPipeline(unet=unet, scheduler=self.scheduler).save_pretrained(save_directory, **kwargs)

    def with_engine(self, engine: Engine | None) -> Self:
        """Return a copy that runs on `engine`; None runs the network itself. This pipeline is unchanged.

        If the copy is moved to another device than the engine's, the network itself computes.
        """
        other = copy.copy(self if engine else self.with_weights())
        other.engine = engine or TorchEngine(other.unet)
        return other

    def fast(self) -> Self:
        """Return the pipeline on the fastest engine that works here: the GPU's, else ONNX Runtime, else PyTorch.

        Returns self if a fast engine is in use; after changing weights, with_engine(None).fast() makes a new one.
        """
        if self.is_fast:
            return self
        network = self.with_weights()
        reasons = []
        for make in (gpu_engine, onnx_engine):
            try:
                return network.with_engine(make(network.unet))
            except EngineError as error:
                reasons.append(str(error))
        logger.warning("Could not build a fast engine (%s); using PyTorch.", "; ".join(reasons))
        return network

    @property
    def is_fast(self) -> bool:
        """Whether an engine other than the network itself computes."""
        return self._is_here and not isinstance(self.engine, TorchEngine)

    @property
    def _is_here(self) -> bool:
        """Whether the engine is on the pipeline's device; if not, the network itself computes."""
        return self.engine.device in (None, self.device)

    def without_weights(self) -> Self:
        """Return a copy that keeps only the shape of its network, to save memory: a fast engine has its own weights.

        `with_weights` reads them again from the checkpoint's folder, so changes made to them are lost. Returns self if
        the network itself computes, or if the pipeline came from no checkpoint folder.
        """
        if not self.is_fast or self._folder is None or self.unet.device.type == "meta":
            return self
        other = copy.copy(self)
        with torch.device("meta"):
            other.unet = UNet2DModel.from_config(self.unet.config).eval()
        return other

    def with_weights(self) -> Self:
        """Return a copy with the weights that `without_weights` dropped read again; self if none were dropped.

        Raises CheckpointError (a ValueError) if the folder no longer holds the checkpoint that was loaded from it.
        """
        if self.unet.device.type != "meta" or self._folder is None:
            return self
        other = copy.copy(self)
        other.unet, _ = load_checkpoint(self._folder)
        if checkpoint_sha256(self._folder) != self._sha256:
            raise CheckpointError(str(self.checkpoint), "replaced")
        return other

    @property
    def device(self) -> torch.device:
        """Device of the network; the CPU for a network without weights."""
        device = super().device
        return torch.device("cpu") if device.type == "meta" else device

    @property
    def classes(self) -> int:
        """Number of classes of the network; 0 for one without labels. Its last label means "no class"."""
        embeddings = self.unet.config.num_class_embeds
        return 0 if embeddings is None else embeddings - 1

    @property
    def num_train_timesteps(self) -> int:
        """T, the number of noise levels in training."""
        return self.scheduler.config.num_train_timesteps

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.unet.config.in_channels, *sample_shape(self.unet.config)

    def plan(self, settings: SamplingSettings) -> Plan:
        """Plan a run. Raises FieldError naming the field that does not fit this checkpoint, and its range."""
        plan = plan_run(settings, self.scheduler.config, self.classes, self.checkpoint)
        self._start_pictures(plan)
        return plan

    def _start_pictures(self, plan: Plan) -> list[Tensor]:
        """Return the pictures that the first state of a run takes its moments from; [] if it is pure noise."""
        if plan.settings.start == "noise":
            return []
        return start_pictures(self._folder, self.image_shape, plan.conditioned_labels)

    def denoiser(self, plan: Plan) -> Denoiser:
        """Return the network as a run uses it: with the plan's labels and guidance, on the plan's betas."""
        labels = None if plan.class_labels is None else torch.tensor(plan.class_labels, device=self.device)
        settings = plan.settings
        engine = self.engine if self._is_here else None
        network = NetworkDenoiser(
            self.unet, plan.trained, self.scheduler.config.prediction_type, labels, settings.guidance_scale, engine,
            self._sha256,
        )  # fmt: skip
        if plan.on_trained_betas:
            return network
        return RescheduledDenoiser(network, plan.schedule, settings.conditioning)

    def steps(
        self, settings: SamplingSettings | Plan | None = None, initial_noise: Tensor | None = None, **fields
    ) -> Iterator[Step]:
        """Run, one Step at a time; the last Step's x_s is the picture in [-1, 1] (unless clip_sample is off).

        Takes settings, their fields as keywords, or this pipeline's plan of them. initial_noise: (num_images, C, H, W),
        the state at the first timestep that the run visits, in place of a draw from the seed. Image i's noise comes
        from its own generator, seeded seed + i, in a fixed order: x_T, the weights of a gaussian start, every step of
        the trajectory. Steps skipped by start_step and an x_T replaced by initial_noise use up their numbers too, so a
        run resumed at step k with the x_t of step k continues the same run; but a sampler that has_history starts
        afresh there. Raises ValueError, naming the field, before it returns.
        """
        plan = settings if isinstance(settings, Plan) else self.plan(_settings(settings, fields))
        settings = plan.settings
        generators = image_generators(settings.seed, settings.num_images)
        eta = settings.effective_eta
        x = noise_like(torch.empty(settings.num_images, *self.image_shape), generators)
        if pictures := self._start_pictures(plan):
            x = gaussian_start(x, plan.schedule.log_alphas_cumprod[plan.run_pairs[0][0]], pictures, generators)
        for _, s in plan.pairs[: settings.start_step]:
            if is_noisy(s, eta):
                noise_like(x, generators)
        if initial_noise is not None:
            x = _checked(initial_noise, x.shape)
        self.unet.eval()
        x = x.to(self.device, torch.float32)
        read = settings.read_by_sampler
        return walk(plan.sampler, self.denoiser(plan), x, plan.run_pairs, settings.clip_sample, generators, **read)

    def __call__(
        self,
        settings: SamplingSettings | None = None,
        initial_noise: Tensor | None = None,
        batch_size: int | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        **fields,
    ) -> ImagePipelineOutput | tuple:
        """Return the pictures of a run; settings, initial_noise and fields are those of `steps`.

        batch_size: pictures that go through the network at once, by default all. output_type: "pil", "np" ((B, H, W, C)
        in [0, 1]) or "pt" ((B, C, H, W) in [0, 1]), as in diffusers' pipelines. Raises ValueError naming the argument.
        """
        if output_type not in ("pil", "np", "pt"):
            raise ValueError(f"output_type: {output_type!r} is unknown; known are pil, np, pt")
        settings = _settings(settings, fields)
        count = settings.num_images
        batch_size = count if batch_size is None else batch_size
        if not batch_size >= 1:
            raise ValueError(f"batch_size: must be at least 1, got {batch_size}")
        if initial_noise is not None:
            initial_noise = _checked(initial_noise, (count, *self.image_shape))
        starts = range(0, count, batch_size)
        steps = len(self.plan(settings).run_pairs)
        pictures = []
        with self.progress_bar(total=steps * len(starts)) as bar:
            for start in starts:
                stop = min(start + batch_size, count)
                noise = None if initial_noise is None else initial_noise[start:stop]
                for step in self.steps(settings.part(start, stop), noise):
                    bar.update()
                    x = step.x_s
                pictures.append(x)
        images = _as_output(torch.cat(pictures), output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)


def _sha256(folder: str | Path) -> str | None:
    try:
        return checkpoint_sha256(folder)
    except OSError:  # the code that loads the folder reports what is wrong
        return None


def _settings(settings: SamplingSettings | None, fields: dict) -> SamplingSettings:
    if settings is None:
        return SamplingSettings(**fields)
    if not isinstance(settings, SamplingSettings):
        raise ValueError(f"settings: must be SamplingSettings, got {type(settings).__name__}")
    return settings.replace(**fields) if fields else settings


def _checked(initial_noise: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(initial_noise.shape) != tuple(shape):
        raise ValueError(f"initial_noise: must have shape {tuple(shape)}, got {tuple(initial_noise.shape)}")
    if not bool(torch.isfinite(initial_noise).all()):
        raise ValueError("initial_noise: holds a value that is not finite")
    return initial_noise


def _as_output(x: Tensor, output_type: str):
    if output_type == "pil":
        return to_pictures(x)
    unit = (x / 2 + 0.5).clamp(0, 1)
    return unit if output_type == "pt" else unit.permute(0, 2, 3, 1).cpu().numpy()
