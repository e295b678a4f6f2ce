"""The recipe of diffusers' examples/unconditional_image_generation/train_unconditional.py, reimplemented as a loop.

Optimiser, schedule, loss, clipping, EMA and their defaults, and the batch of 16, are the script's. Data set, U-Net and
length are arguments. Flipping and mixed precision are off, as they are in the script by default.
"""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import TorchDynamoPlugin
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch.utils.data import DataLoader

from diffusion.pixels import to_unit_range
from training.states import latest_state, save_state

BATCH_SIZE = 16


class DiffusersExample:
    """One training by that recipe. images: (N, H, W, C) uint8; steps: where its cosine ends.

    compiled: use torch.compile, which changes only the speed; the script leaves that choice to `accelerate config`.
    """

    def __init__(self, unet: UNet2DModel, images, steps: int, seed: int = 0, compiled: bool = False):
        torch.manual_seed(seed)
        self.length, self.step, self.unet = steps, 0, unet
        self.accelerator = Accelerator(
            mixed_precision="no",
            cpu=not torch.cuda.is_available(),
            dynamo_plugin=TorchDynamoPlugin(backend="inductor", mode="reduce-overhead") if compiled else None,
        )
        self.noise_scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
        optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
        lr_scheduler = get_scheduler("cosine", optimizer=optimizer, num_warmup_steps=500, num_training_steps=steps)
        pictures = to_unit_range(images)
        loader = DataLoader(pictures, batch_size=BATCH_SIZE, shuffle=True, drop_last=True)
        self.model, self.optimizer, self.loader, self.lr_scheduler = self.accelerator.prepare(
            unet, optimizer, loader, lr_scheduler
        )
        self.ema = EMAModel(
            unet.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75, model_cls=UNet2DModel
        )
        self.ema.to(self.accelerator.device)
        self.accelerator.register_for_checkpointing(self.ema)

    def steps(self) -> Iterator[int]:
        """Train to the end; yields the number of steps done."""
        self.model.train()
        for clean_images in cycle_anew(self.loader):
            if self.step >= self.length:
                return
            noise = torch.randn_like(clean_images)
            timesteps = torch.randint(0, 1000, (len(clean_images),), device=clean_images.device).long()
            noisy_images = self.noise_scheduler.add_noise(clean_images, noise, timesteps)
            loss = F.mse_loss(self.model(noisy_images, timesteps).sample.float(), noise.float())
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.lr_scheduler.step()
            self.optimizer.zero_grad()
            self.ema.step(self.model.parameters())
            self.step += 1
            yield self.step

    def save(self, folder: Path) -> None:
        """Save a state to resume from. After resuming, the order of the pictures is drawn anew."""
        save_state(self.accelerator, folder, self.step, keep=1)

    def go_on(self, folder: Path) -> None:
        """Resume from the last saved state, if there is one."""
        if state := latest_state(folder):
            self.accelerator.load_state(str(state))
            self.ema.to(self.accelerator.device)
            self.step = int(state.name.split("-")[-1])

    def export(self, folder: Path) -> None:
        """Write the EMA weights as a plain diffusers folder."""
        self.ema.copy_to(self.unet.parameters())
        DDPMPipeline(unet=self.unet.eval(), scheduler=self.noise_scheduler).save_pretrained(
            folder, safe_serialization=True
        )


def cycle_anew(loader: DataLoader) -> Iterator[torch.Tensor]:
    """Yield batches epoch after epoch, each in a new order (itertools.cycle would repeat the first)."""
    for _ in cycle([None]):
        yield from loader
