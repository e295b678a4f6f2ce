"""Prints the README's table, one row per checkpoint: `python -m training.summary [CHECKPOINTS_FOLDER]`."""

import json
import sys
from pathlib import Path

import torch
from diffusers import UNet2DModel
from diffusers.utils import logging
from torch.utils.flop_counter import FlopCounterMode

from diffusion.console import accept_any_encoding
from training.report import number

COLUMNS = [
    "checkpoint", "pictures", "classes", "parameters", "GFLOP", "steps", "hours", "on", "held-out ε error",
    "FID (floor)", "N", "right class (real)",
]  # fmt: skip


def main(folder: Path) -> None:
    """Print the table; checkpoints without a training.json are left out."""
    logging.disable_progress_bar()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for record in sorted(folder.glob("*/training.json")):
        print(f"| {' | '.join(_row(record.parent, json.loads(record.read_text(encoding='utf-8'))))} |")


def flops_of_one_call(unet: UNet2DModel) -> int:
    """Count the FLOPs of one call on one picture with torch's counter; a multiply-add is two."""
    x = torch.zeros(1, unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
    labels = {} if unet.config.num_class_embeds is None else {"class_labels": torch.zeros(1, dtype=torch.long)}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet(x, 5, **labels)
    return counter.get_total_flops()


def _row(folder: Path, record: dict) -> list[str]:
    unet = UNet2DModel.from_pretrained(folder / "unet", use_safetensors=True, local_files_only=True)
    size, channels = unet.config.sample_size, unet.config.in_channels
    held_out = [entry["held_out_eps_mse_ema"] for entry in record["history"] if "held_out_eps_mse_ema" in entry]
    classes = unet.config.num_class_embeds
    return [
        folder.name,
        f"{size}×{size} {'RGB' if channels == 3 else 'grey'}",
        "none" if classes is None else str(classes - 1),
        f"{unet.num_parameters() / 1e6:.2f} M",
        f"{flops_of_one_call(unet) / 1e9:.2f}",
        f"{record['steps']:,} × {record['settings']['batch_size']}",
        f"{record['hours_with_init_from']:.2f}",
        record["hardware"]["device"].split(" (")[0],
        f"{held_out[-1]:.4f}" if held_out else "-",
        *_quality(folder / "evaluation.json"),
    ]


def _quality(evaluation: Path) -> tuple[str, str, str]:
    """Return the largest DDIM run's FID and N, and the share of samples of the class asked for; "-" if not measured."""
    found = json.loads(evaluation.read_text(encoding="utf-8")) if evaluation.exists() else {}
    rows = [row for row in found.get("fid", []) if row["sampler"] == "ddim"]
    fid = n = share = "-"
    if rows:
        row = max(rows, key=lambda row: row["n"])
        fid, n = f"{number(row['fid'])} ({number(row['floor_fid'])})", f"{row['n']:,}"
    if accuracy := found.get("accuracy"):
        share = f"{accuracy['samples'][0]['all']:.1%} ({accuracy['real']:.1%})"
    return fid, n, share


if __name__ == "__main__":
    accept_any_encoding()
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "checkpoints"))
