"""Reports a running training: the progress bar, the log on disk, and Accelerate's trackers."""

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
    """Collects records over log_every steps and writes their means; silent except in the main process.

    The log (metrics.jsonl) has one JSON object per line: step, loss, loss_q0..loss_q3 (by quartile of t, q0 the least
    noisy), eps_mse, grad_norm, learning_rate, ema_decay, images_per_second; and held_out_eps_mse and
    held_out_eps_mse_ema where samples were drawn.
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
            entries, damaged = whole_entries(self.metrics)
            if damaged:
                self.say(f"warning: {self.metrics} has {damaged} damaged lines, which are left out")
            self._forget_after(progress.step, entries)

    def step(self, record: StepRecord) -> None:
        """Add one step's record; every log_every steps, write the means."""
        if not self.accelerator.is_main_process:
            return
        self.records.append(record)
        self.recent.append(record)
        self._show(record)
        if record.step % self.log_every == 0:
            self.flush()

    def flush(self) -> None:
        """Write the means over the steps since the last write."""
        if self.records:
            self.write(self.records[-1].step, means(self.records, self.num_train_timesteps))
            self.records.clear()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Write a step's figures to the log and the trackers."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        self.accelerator.log(values, step=step)

    def picture(self, name: str, step: int, sheet: Image.Image) -> None:
        """Save a sheet of samples in samples/ and pass it to the trackers that accept pictures."""
        folder = self.folder / "samples"
        folder.mkdir(exist_ok=True)
        sheet.save(folder / f"{name}-{step:09d}.png")
        for tracker in self.accelerator.trackers:
            if tracker.name == "tensorboard":
                tracker.log_images({name: np.asarray(sheet.convert("RGB"))[None]}, step=step, dataformats="NHWC")
            elif tracker.name == "wandb":
                tracker.log_images({name: [sheet]}, step=step)

    def say(self, text: str) -> None:
        """Print a line from the main process alone, without breaking the bar."""
        if self.accelerator.is_main_process:
            self.bar.write(text)

    def close(self) -> None:
        """Write the remaining records; end the bar and the trackers."""
        self.flush()
        self.bar.close()
        for tracker in self.accelerator.trackers:
            tracker.finish()

    def _show(self, record: StepRecord) -> None:
        images_per_second = sum(len(r.loss) for r in self.recent) / sum(r.seconds for r in self.recent)
        loss = sum(r.loss.mean().item() for r in self.recent) / len(self.recent)
        known = record.fraction > 0  # a compiling step counts no time: after it, the time left is unknown
        left = tqdm.format_interval(self.progress.seconds * (1 / record.fraction - 1)) if known else "?"
        self.bar.set_description_str(f"step {record.step}", refresh=False)
        self.bar.set_postfix_str(
            f"loss {loss:.4f}, {images_per_second:.0f} images/s, {left} left",
            refresh=False,
        )
        self.bar.update(100 * record.fraction - self.bar.n)

    def _forget_after(self, step: int, entries: list[dict]) -> None:
        """Drop what a killed run logged after the state it resumes from, and a line cut short by the kill."""
        kept = "".join(json.dumps(entry) + "\n" for entry in entries if entry["step"] <= step)
        partial = self.metrics.with_name("." + self.metrics.name)
        partial.write_text(kept, encoding="utf-8")
        partial.replace(self.metrics)


def means(records: list[StepRecord], num_train_timesteps: int) -> dict[str, float]:
    """Average the records of some steps; learning_rate and ema_decay are those of the last step.

    Quartiles of t without a picture and gradient norms that are not finite are left out.
    """
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


def whole_entries(metrics: Path) -> tuple[list[dict], int]:
    """Return the entries of a log, and how many lines are damaged; the last, which a kill can cut short, is not one."""
    lines = metrics.read_bytes().split(b"\n")
    found = [_entry(line) for line in lines]
    damaged = sum(bool(line.strip()) and entry is None for line, entry in zip(lines[:-1], found, strict=False))
    return [entry for entry in found if entry is not None], damaged


def _entry(line: bytes) -> dict | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    usable = isinstance(entry, dict) and all(isinstance(value, int | float) for value in entry.values())
    return entry if usable and isinstance(entry.get("step"), int) else None


def history(metrics: Path, points: int = HISTORY_POINTS) -> list[dict]:
    """Return at most `points` evenly chosen entries of the log, and every entry with a held-out error."""
    if not metrics.exists():
        return []
    entries, _ = whole_entries(metrics)
    plain = [entry for entry in entries if "loss" in entry]
    held_out = [entry for entry in entries if "loss" not in entry]
    chosen = np.linspace(0, len(plain) - 1, min(points, len(plain))).round().astype(int) if plain else []
    return sorted([plain[i] for i in chosen] + held_out, key=lambda entry: entry["step"])
