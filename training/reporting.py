"""What a training tells while it runs: the progress bar, the log on disk, and Accelerate's trackers."""

import json
import math
from collections import deque
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from tqdm import tqdm

from training.loop import Progress, StepRecord

QUARTILES = 4
HISTORY_POINTS = 200
RECENT_STEPS = 20
BAR = "{desc} {percentage:3.0f}%|{bar}| {postfix}"


class Reporter:
    """Collects records over log_every steps and writes their means; silent in all but the main process.

    The log (metrics.jsonl) holds, one JSON object a line: step, loss, loss_q0..loss_q3 (by quartile of t, q0 the least
    noisy), eps_mse, grad_norm, learning_rate, ema_decay, images_per_second; and where samples were drawn
    held_out_eps_mse and held_out_eps_mse_ema.
    """

    def __init__(
        self, accelerator: Accelerator, folder: Path, num_train_timesteps: int, log_every: int, progress: Progress
    ):
        self.accelerator = accelerator
        self.folder = folder
        self.num_train_timesteps = num_train_timesteps
        self.log_every = log_every
        self.progress = progress
        self.metrics = folder / "metrics.jsonl"
        self.records: list[StepRecord] = []
        self.recent: deque[StepRecord] = deque(maxlen=RECENT_STEPS)
        self.bar = tqdm(
            total=100, disable=not accelerator.is_main_process, bar_format=BAR, mininterval=1.0, dynamic_ncols=True
        )
        if accelerator.is_main_process and self.metrics.exists():
            self._forget_after(progress.step)

    def step(self, record: StepRecord) -> None:
        """Take one step's record; write every log_every steps."""
        if not self.accelerator.is_main_process:
            return
        self.records.append(record)
        self.recent.append(record)
        self._show(record)
        if record.step % self.log_every == 0:
            self.flush()

    def flush(self) -> None:
        """Write the means over the steps since the last time."""
        if self.records:
            self.write(self.records[-1].step, means(self.records, self.num_train_timesteps))
            self.records.clear()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Write some figures of a step to the log and the trackers."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        self.accelerator.log(values, step=step)

    def picture(self, name: str, step: int, sheet: Image.Image) -> None:
        """Save a sheet of samples below samples/ and give it to the trackers that take pictures."""
        folder = self.folder / "samples"
        folder.mkdir(exist_ok=True)
        sheet.save(folder / f"{name}-{step:09d}.png")
        for tracker in self.accelerator.trackers:
            if tracker.name == "tensorboard":
                tracker.log_images({name: np.asarray(sheet.convert("RGB"))[None]}, step=step, dataformats="NHWC")
            elif tracker.name == "wandb":
                tracker.log_images({name: [sheet]}, step=step)

    def say(self, text: str) -> None:
        """Print a line, once, without breaking the bar."""
        if self.accelerator.is_main_process:
            self.bar.write(text)

    def close(self) -> None:
        """Write what is left; end the bar and the trackers."""
        self.flush()
        self.bar.close()
        for tracker in self.accelerator.trackers:
            tracker.finish()

    def _show(self, record: StepRecord) -> None:
        images_per_second = sum(len(r.loss) for r in self.recent) / sum(r.seconds for r in self.recent)
        loss = sum(r.loss.mean().item() for r in self.recent) / len(self.recent)
        known = record.fraction > 0  # a step that compiles does not count, so after it nothing is known
        left = tqdm.format_interval(self.progress.seconds * (1 / record.fraction - 1)) if known else "?"
        self.bar.set_description_str(f"step {record.step}", refresh=False)
        self.bar.set_postfix_str(
            f"loss {loss:.4f}, {images_per_second:.0f} images/s, {left} left",
            refresh=False,
        )
        self.bar.update(100 * record.fraction - self.bar.n)

    def _forget_after(self, step: int) -> None:
        """Drop what a killed run logged after the state that it is resumed from, and a line cut short by the kill."""
        kept = [json.dumps(entry) for entry in whole_entries(self.metrics) if entry["step"] <= step]
        self.metrics.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def means(records: list[StepRecord], num_train_timesteps: int) -> dict[str, float]:
    """The figures of some steps, averaged; a quartile of t that saw no picture is left out."""
    loss = torch.cat([record.loss for record in records])
    quartile = (torch.cat([record.t for record in records]) * QUARTILES / num_train_timesteps).long()
    values = {"loss": loss.mean().item()}
    for q in range(QUARTILES):
        if (quartile == q).any():
            values[f"loss_q{q}"] = loss[quartile == q].mean().item()
    norms = [record.grad_norm for record in records if math.isfinite(record.grad_norm)]
    return values | {
        "eps_mse": torch.cat([record.eps_mse for record in records]).mean().item(),
        **({"grad_norm": sum(norms) / len(norms)} if norms else {}),
        "learning_rate": records[-1].learning_rate,
        "ema_decay": records[-1].ema_decay,
        "images_per_second": len(loss) / sum(record.seconds for record in records),
    }


def whole_entries(metrics: Path) -> list[dict]:
    """The entries of a log; a line that a kill cut short is passed over."""
    return [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def history(metrics: Path, points: int = HISTORY_POINTS) -> list[dict]:
    """The log as a list of at most `points` entries, evenly chosen, and every one with a held-out figure."""
    if not metrics.exists():
        return []
    entries = whole_entries(metrics)
    plain = [entry for entry in entries if "loss" in entry]
    held_out = [entry for entry in entries if "loss" not in entry]
    chosen = np.linspace(0, len(plain) - 1, min(points, len(plain))).round().astype(int) if plain else []
    return sorted([plain[i] for i in chosen] + held_out, key=lambda entry: entry["step"])
