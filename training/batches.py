"""Each step's batch as a pure function of (seed, step), so that a resumed run repeats the original exactly.

Batches do not depend on the number of processes, on earlier steps or on the device.
"""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from diffusion.objective import TimestepDraw, draw_timesteps
from diffusion.pixels import to_unit_range
from training.data import Pictures

ORDER, DRAWS, DROPOUT = 0, 1, 2  # part of every random key: each purpose has its own stream
AHEAD = 4  # steps that each worker prefetches


@dataclass(frozen=True)
class Batch:
    """Part of a step's batch. x_0, eps: (B, C, H, W) float32, x_0 in [-1, 1] on the 8-bit grid; t: (B,) int64.

    class_labels: (B,) int64, where the number of classes means "no class"; None for a network without labels.
    """

    x_0: Tensor
    eps: Tensor
    t: Tensor
    class_labels: Tensor | None

    def to(self, device: torch.device) -> Self:
        """Return this batch on another device."""
        return self._each(lambda x: x.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """Return this batch in pinned memory, for asynchronous copies to a GPU; DataLoader calls this."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        tensors = (self.x_0, self.eps, self.t, self.class_labels)
        return type(self)(*(None if x is None else change(x) for x in tensors))


@dataclass(frozen=True)
class BatchSource:
    """Computes any part of any step's batch; the pictures are reshuffled every epoch.

    classes: 0 for a network without labels.
    """

    pictures: Pictures
    seed: int
    batch_size: int
    num_train_timesteps: int
    timestep_draw: TimestepDraw
    classes: int = 0
    label_dropout: float = 0.0
    flip: bool = False

    def part(self, step: int, index: np.ndarray) -> Batch:
        """Return the images at positions `index` of a step's batch; index: (B,) integers in [0, batch_size)."""
        chosen = [self._picture_at(step * self.batch_size + i) for i in index.tolist()]
        x_0 = to_unit_range(self.pictures.images[chosen])
        uniforms, eps = np.empty((3, len(index))), np.empty(x_0.shape, dtype=np.float32)
        for row, i in enumerate(index.tolist()):
            rng = np.random.default_rng([self.seed, DRAWS, step, i])
            uniforms[:, row] = rng.random(3)
            rng.standard_normal(dtype=np.float32, out=eps[row])
        for_t, for_drop, for_flip = torch.from_numpy(uniforms)
        t = draw_timesteps(
            for_t, self.num_train_timesteps, self.timestep_draw, self.batch_size, torch.from_numpy(index)
        )
        if self.flip:
            mirrored = for_flip < 0.5
            x_0[mirrored] = x_0[mirrored].flip(-1)
        labels = None
        if self.classes:
            labels = torch.from_numpy(self.pictures.labels[chosen])
            labels[for_drop < self.label_dropout] = self.classes
        return Batch(x_0, torch.from_numpy(eps), t, labels)

    def _picture_at(self, position: int) -> int:
        """Return the index of the picture at `position` of the endless stream of epochs."""
        epoch, place = divmod(position, len(self.pictures))
        return int(epoch_order(self.seed, epoch, len(self.pictures))[place])


class _Steps(Dataset):
    """DataLoader's view of the source: item `step` is this process's parts of that step's batch."""

    def __init__(self, source: BatchSource, shares: list[np.ndarray]):
        self.source, self.shares = source, shares

    def __getitem__(self, step: int) -> list[Batch]:
        return [self.source.part(step, index) for index in self.shares]


def batches_from(
    source: BatchSource, shares: list[np.ndarray], first_step: int, workers: int = 0, pin_memory: bool = False
) -> Iterator[list[Batch]]:
    """Iterate over a process's parts of each batch, from `first_step` on, without end.

    workers: processes that prepare batches ahead of time; 0 prepares each batch on demand. The batches are the same.
    pin_memory: put them into pinned memory, for asynchronous copies to a GPU.
    """
    loader = DataLoader(
        _Steps(source, shares),
        batch_size=None,
        sampler=count(first_step),
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        pin_memory=pin_memory,
        worker_init_fn=_leave_ctrl_c_to_the_training,
    )
    # A worker that is still starting has not reached its init function: it inherits the block, and Ctrl-C waits here
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _leave_ctrl_c_to_the_training(worker: int) -> None:
    """Make a worker ignore Ctrl-C, which every process of the terminal gets: the training needs it to end its step.

    SIGTERM still ends a worker: DataLoader, and Python at exit, stop workers with it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order of the pictures in an epoch: a permutation of range(count), (count,)."""
    return np.random.default_rng([seed, ORDER, epoch]).permutation(count)


def dropout_seed(seed: int, step: int, process: int) -> int:
    """Return the seed of a step's dropout masks, the only random numbers that depend on how the batch is shared."""
    return int(np.random.SeedSequence([seed, DROPOUT, step, process]).generate_state(1, np.uint64)[0] >> 1)


def process_share(batch_size: int, process: int, processes: int, accumulation: int) -> list[np.ndarray]:
    """Return the positions of the batch that a process computes, one array per accumulated part.

    Positions are interleaved, so that every part covers all noise levels of a stratified batch. Raises ValueError if
    the batch cannot be shared equally, since unequal shares would weigh some images more.
    """
    parts = processes * accumulation
    if batch_size % parts:
        raise ValueError(
            f"batch_size: {batch_size} cannot be shared equally by {processes} processes x accumulation {accumulation}"
        )
    return [np.arange(part * processes + process, batch_size, parts) for part in range(accumulation)]
