"""The training loop: a generator that yields one record per step. Callers log, sample, save and stop."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel
from torch import Tensor

from diffusion.objective import training_loss
from training.batches import Batch, BatchSource, batches_from, dropout_seed, process_share
from training.config import TrainConfig
from training.data import DataSet
from training.network import classes_of

ASLEEP = 20  # a step this many times slower than the median includes a sleeping machine or a paused process


class TrainingStopped(Exception):
    """The training cannot continue. The text says why and what to do; the last saved state is intact."""


@dataclass(frozen=True)
class StepRecord:
    """Measurements of one optimiser step. loss, eps_mse, t: (batch_size,) on the CPU, over all processes.

    fraction: the share of the run that is done; 1 is its end.
    """

    step: int
    loss: Tensor
    eps_mse: Tensor
    t: Tensor
    grad_norm: float
    learning_rate: float
    ema_decay: float
    seconds: float
    fraction: float


@dataclass
class Progress:
    """Progress of a run, saved with its state. seconds: time spent in steps alone, without compiling."""

    step: int = 0
    seconds: float = 0.0

    def state_dict(self) -> dict:
        """Return the fields to save; Accelerate calls this."""
        return {"step": self.step, "seconds": self.seconds}

    def load_state_dict(self, state: dict) -> None:
        """Restore saved fields; Accelerate calls this."""
        self.step, self.seconds = state["step"], state["seconds"]

    def fraction(self, config: TrainConfig) -> float:
        """Return the share of the run that is done: the larger of the shares of steps and minutes; 1 is the end."""
        by_steps = self.step / config.steps if config.steps else 0.0
        by_time = self.seconds / (60 * config.minutes) if config.minutes else 0.0
        return min(1.0, max(by_steps, by_time))


def learning_rate_at(step: int, fraction: float, config: TrainConfig) -> float:
    """Learning rate of a step: linear warm-up over warmup_steps, times a cosine from 1 to 0 over the run (or 1).

    fraction: the share of the run that is done.
    """
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    shape = 0.5 * (1 + math.cos(math.pi * fraction)) if config.lr_schedule == "cosine" else 1.0
    return config.learning_rate * warmup * shape


@dataclass
class Training:
    """Network, optimiser, EMA and batches of a run. `raw_unet`: the plain network; `unet`: as Accelerate prepared it.

    clock: returns seconds; it measures the run's minutes.
    """

    config: TrainConfig
    data: DataSet
    accelerator: Accelerator
    raw_unet: UNet2DModel
    progress: Progress = field(default_factory=Progress)
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self):
        config = self.config
        self.schedule = config.schedule()
        self.classes = classes_of(config, self.data)
        self.source = BatchSource(
            pictures=self.data.train,
            seed=config.seed,
            batch_size=config.batch_size,
            num_train_timesteps=config.num_train_timesteps,
            timestep_draw=config.timestep_draw,
            classes=self.classes,
            label_dropout=config.label_dropout,
            flip=config.flip,
        )
        processes = self.accelerator.num_processes
        self.shares = process_share(config.batch_size, self.accelerator.process_index, processes, config.accumulation)
        optimizer = torch.optim.AdamW(
            self.raw_unet.parameters(),
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.unet, self.optimizer = self.accelerator.prepare(self.raw_unet, optimizer)
        self.ema = EMAModel(
            self.raw_unet.parameters(),
            decay=config.ema_max_decay,
            use_ema_warmup=True,
            power=config.ema_power,
            foreach=True,
        )
        self.ema.to(self.accelerator.device)
        self.accelerator.register_for_checkpointing(self.ema, self.progress)

    def steps(self) -> Iterator[StepRecord]:
        """Train to the end of the run. The gradient of a step stays in place until the next step begins.

        Raises TrainingStopped if the loss or the gradient is not finite.
        """
        recent: deque[float] = deque(maxlen=50)
        on_gpu = self.accelerator.device.type == "cuda"
        batches = batches_from(self.source, self.shares, self.progress.step, self.config.workers, pin_memory=on_gpu)
        self.unet.train()
        while (fraction := self.progress.fraction(self.config)) < 1:
            began = self.clock()
            step = self.progress.step
            learning_rate = learning_rate_at(step, fraction, self.config)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            loss, eps_mse, t = self._gradient(step, next(batches))
            grad_norm = float(self.accelerator.clip_grad_norm_(self.unet.parameters(), self.config.max_grad_norm))
            self._check_finite(step, loss, grad_norm)
            self.optimizer.step()
            if not self.accelerator.optimizer_step_was_skipped:
                self.ema.step(self.raw_unet.parameters())
            seconds = self.clock() - began
            compiling = self.config.compile and not recent
            recent.append(seconds)
            usual = sorted(recent)[len(recent) // 2]
            self.progress.step = step + 1
            counted = 0.0 if compiling else min(seconds, ASLEEP * usual)
            self.progress.seconds = self._agreed(self.progress.seconds + counted)
            yield StepRecord(
                step=self.progress.step,
                loss=loss,
                eps_mse=eps_mse,
                t=t,
                grad_norm=grad_norm,
                learning_rate=learning_rate,
                ema_decay=float(self.ema.cur_decay_value or 0.0),
                seconds=seconds,
                fraction=self.progress.fraction(self.config),
            )
            self.unet.train()

    def _gradient(self, step: int, parts: list[Batch]) -> tuple[Tensor, Tensor, Tensor]:
        """Run this process's parts forward and backward. Returns the whole batch's loss, eps_mse, t: (batch_size,)."""
        config = self.config
        self.optimizer.zero_grad()
        if config.dropout:
            torch.manual_seed(dropout_seed(config.seed, step, self.accelerator.process_index))
        losses, errors, timesteps = [], [], []
        for number, part in enumerate(parts, start=1):
            batch = part.to(self.accelerator.device)
            last = number == len(parts)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.unet):
                terms = training_loss(
                    self.unet,
                    batch.x_0,
                    batch.t,
                    batch.eps,
                    self.schedule,
                    config.prediction_type,
                    config.loss_weighting,
                    config.snr_gamma,
                    batch.class_labels,
                )
                self.accelerator.backward(terms.loss.mean() / len(parts))
            losses.append(terms.loss.detach())
            errors.append(terms.eps_mse)
            timesteps.append(batch.t)
        rows = torch.stack([torch.cat(losses), torch.cat(errors), torch.cat(timesteps).float()], dim=1)
        return self.accelerator.gather(rows).cpu().unbind(1)

    def _check_finite(self, step: int, loss: Tensor, grad_norm: float) -> None:
        scaled = self.accelerator.scaler is not None  # the fp16 scaler itself skips steps with infinite gradients
        if bool(torch.isfinite(loss).all()) and (scaled or math.isfinite(grad_norm)):
            return
        raise TrainingStopped(
            f"step {step + 1}: the loss is {loss.mean().item()} and the gradient's norm {grad_norm}. This step did "
            f"not change the weights, and the states saved before it are in place. To go on from the last one with a "
            f"smaller --learning-rate (now {self.config.learning_rate}) or a longer --warmup-steps: "
            f"python -m training.export {Path(self.config.output_dir, self.config.name)}, then a new --name with "
            f"--init-from {Path(self.config.checkpoints_dir, self.config.name)}"
        )

    def _agreed(self, seconds: float) -> float:
        """Return the main process's seconds, so that all processes end at the same step."""
        if self.accelerator.num_processes == 1:
            return seconds
        clock = torch.tensor([seconds], dtype=torch.float64, device=self.accelerator.device)
        return broadcast(clock).item()

    @contextlib.contextmanager
    def ema_weights(self) -> Iterator[UNet2DModel]:
        """Yield the network with its EMA weights, in eval mode; afterwards restore the raw weights."""
        parameters = list(self.raw_unet.parameters())
        self.ema.store(parameters)
        self.ema.copy_to(parameters)
        try:
            yield self.raw_unet.eval()
        finally:
            self.ema.restore(parameters)
            self.raw_unet.train()
