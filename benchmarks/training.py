"""Which recipe makes the better pictures after the same minutes? FID at DDIM-50 of trainings of equal wall time.

python -m benchmarks.training theirs@60 ours@30 --seeds 0 1                   # time to quality: the bar of the project
python -m benchmarks.training ours@10 simple@10 v-prediction@10 lr-4e-4@10    # one change of the recipe at a time

NAME@MINUTES is a recipe and its minutes. `theirs` is diffusers' train_unconditional.py reimplemented on the same U-Net;
the others are this package's preset with the change that their name states. All train without classes on the same
pictures, and are sampled from their EMA weights.

Minutes become steps once, by the speeds of all recipes, measured in turns in one run on this machine and kept in
FOLDER/pace.json. So a training can share the machine, or stop and resume, without losing minutes. It can also run
elsewhere: with the pace.json of two cores in FOLDER, a GPU does the steps that they would do in their minutes.
Finished trainings are kept in FOLDER and not repeated.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import torch
from accelerate.state import AcceleratorState
from tqdm import tqdm

from benchmarks.diffusers_example import BATCH_SIZE, DiffusersExample
from diffusion.console import accept_any_encoding
from diffusion.metrics.distances import distance
from diffusion.metrics.features import load_feature_space
from diffusion.pipeline import DDPMLabPipeline
from diffusion.settings import SamplingSettings
from training.config import TrainConfig
from training.data import DataConfig, load_data
from training.evaluate import SPACING
from training.network import build_unet
from training.presets import PRESETS
from training.safe_files import write_json
from training.samples import draw_samples
from training.start import bf16_is_emulated, prepare
from training.summary import flops_of_one_call
from training.train import train

REPOSITORY = Path(__file__).resolve().parents[1]
THEIRS = "theirs"
PRECISION = "no" if bf16_is_emulated() else "bf16"  # the faster one; `theirs` has no mixed precision by default
ON_GPU = torch.cuda.is_available()
OURS = dict(
    class_conditional=False,
    mixed_precision=PRECISION,
    compile=ON_GPU,
    workers=int(ON_GPU),
    minutes=None,
    trackers=(),
)
RECIPES: dict[str, dict] = {
    "ours": {},
    "float32": dict(mixed_precision="no"),
    "simple": dict(loss_weighting="simple"),
    "min-snr-1": dict(snr_gamma=1.0),
    "min-snr-20": dict(snr_gamma=20.0),
    "uniform-t": dict(timestep_draw="uniform"),
    "x_0-prediction": dict(prediction_type="sample"),
    "x_0-simple": dict(prediction_type="sample", loss_weighting="simple"),
    "v-prediction": dict(prediction_type="v_prediction"),
    "v-simple": dict(prediction_type="v_prediction", loss_weighting="simple"),
    "batch-16": dict(batch_size=16),
    "batch-64": dict(batch_size=64),
    "lr-4e-4": dict(learning_rate=4e-4),
    "lr-16e-4": dict(learning_rate=16e-4),
    "beta2-0.999": dict(adam_beta2=0.999),
    "constant-lr": dict(lr_schedule="constant"),
    "ema-0.999": dict(ema_max_decay=0.999),
    "ema-0.9999": dict(ema_max_decay=0.9999),
    "two-levels": dict(block_out_channels=(48, 96)),
    "narrow": dict(block_out_channels=(16, 48, 128)),
    "low-heavy": dict(block_out_channels=(32, 96, 192)),
    "wider": dict(block_out_channels=(48, 96, 128), layers_per_block=1),
    "two-layers": dict(layers_per_block=2),
    "deeper": dict(block_out_channels=(32, 64, 64), layers_per_block=3),
    "attention": dict(attention_levels=(1,)),
    "dropout": dict(dropout=0.1),
}
COSTLY = {"block_out_channels", "layers_per_block", "attention_levels", "dropout", "batch_size", "mixed_precision"}
PACE_STEPS, PACE_ROUNDS = 12, 3
SAVE_EVERY = 1000


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, measure it, print the table. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", type=_recipe, help=f"NAME@MINUTES; {THEIRS}, {', '.join(RECIPES)}")
    parser.add_argument("--data", default="pixel-faces", choices=sorted(set(PRESETS) - {"small-pictures"}))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--samples", type=int, default=5000, help="pictures of each FID (default 5000)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, default=Path("runs/time-to-quality"))
    options = parser.parse_args(arguments)
    folder = options.folder / options.data
    torch.set_num_threads(options.threads)
    pace = measured_pace(options.data, [paced_as(name) for name, _ in options.recipes], folder / "pace.json")
    print("| recipe | minutes | seed | images/s | GFLOP a call | steps x batch | FID (floor) | KID x 1000 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, minutes in options.recipes:
        for seed in options.seeds:
            batch = batch_size(name, options.data)
            speed = pace[paced_as(name)]
            steps = round(60 * minutes * speed / batch)
            place = folder / f"{name}-{minutes:g}-{seed}"
            checkpoint = _trained(name, options.data, steps, seed, place)
            found = _measured(checkpoint, options.data, options.samples)
            print(
                f"| {name} | {minutes:g} | {seed} | {speed:.0f} | {found['gflop']:.3f} | {steps:,} x {batch} "
                f"| {found['fid']:.2f} ({found['floor_fid']:.2f}) "
                f"| {1000 * found['kid']:.2f} ± {1000 * found['kid_standard_error']:.2f} |",
                flush=True,
            )
    return 0


def _recipe(text: str) -> tuple[str, float]:
    name, _, minutes = text.partition("@")
    if name != THEIRS and name not in RECIPES:
        raise argparse.ArgumentTypeError(f"{name!r} is unknown; known are {THEIRS}, {', '.join(RECIPES)}")
    try:
        return name, float(minutes)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} lacks its minutes: {name}@30") from None


def _config(recipe: str, data: str, **fields) -> TrainConfig:
    own = {} if recipe == THEIRS else RECIPES[recipe]
    return TrainConfig(**PRESETS[data] | OURS | own | {"threads": torch.get_num_threads()} | fields)


def batch_size(name: str, data: str) -> int:
    return BATCH_SIZE if name == THEIRS else _config(name, data, steps=1).batch_size


def _their_training(data: str, steps: int, seed: int) -> DiffusersExample:
    config = _config(THEIRS, data, steps=steps, seed=seed)
    pictures = load_data(DataConfig(data=data))
    return DiffusersExample(build_unet(config, pictures), pictures.train.images, steps, seed, compiled=ON_GPU)


def endless_steps(name: str, data: str) -> Iterator:
    """Start a training without an end, to measure its speed."""
    AcceleratorState._reset_state(reset_partial_state=True)
    if name == THEIRS:
        return _their_training(data, 10**6, 0).steps()
    with tempfile.TemporaryDirectory() as place:
        config = _config(name, data, steps=10**6, name="pace", output_dir=place, checkpoints_dir=place)
        return prepare(config)[0].steps()


def paced_as(name: str) -> str:
    """Return the recipe whose speed this one has: `ours`, if its change costs no time (another weight, say)."""
    return name if name == THEIRS or COSTLY & set(RECIPES[name]) else "ours"


def measured_pace(data: str, names: list[str], file: Path) -> dict[str, float]:
    """Return images/s of each recipe: the median of its turns in one run with `ours`, whose speed links separate runs.

    Kept in `file`. A recipe that is measured later is scaled by the speed of `ours` at first over its speed then.
    """
    kept = json.loads(file.read_text()) if file.exists() else {}
    missing = [name for name in dict.fromkeys(names) if name not in kept]
    if not missing:
        return kept
    turns = {name: [] for name in dict.fromkeys(["ours", *missing])}
    for _ in range(PACE_ROUNDS):
        for name, speeds in turns.items():
            steps = endless_steps(name, data)
            next(steps)
            began = time.perf_counter()
            for _ in islice(steps, PACE_STEPS):
                pass
            speeds.append(PACE_STEPS * batch_size(name, data) / (time.perf_counter() - began))
    found = {name: statistics.median(speeds) for name, speeds in turns.items()}
    scale = kept.get("ours", found["ours"]) / found["ours"]
    kept = {name: scale * speed for name, speed in found.items()} | kept
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, kept)
    return kept


def _trained(name: str, data: str, steps: int, seed: int, place: Path) -> Path:
    """Return the checkpoint of this training, which is first trained, or resumed, to its end if necessary."""
    checkpoint = place / "export" / "run"
    if checkpoint.exists():
        return checkpoint
    AcceleratorState._reset_state(reset_partial_state=True)
    if name == THEIRS:
        training = _their_training(data, steps, seed)
        training.go_on(place)
        for step in tqdm(training.steps(), total=steps, initial=training.step, desc=place.name, leave=False):
            if step % SAVE_EVERY == 0:
                training.save(place)
        partial = place / "export" / ".run"
        training.export(partial)
        partial.rename(checkpoint)
    else:
        places = dict(name="run", output_dir=str(place), checkpoints_dir=str(place / "export"))
        every = dict(save_every=SAVE_EVERY, sample_every=10**9, resume=True)
        if status := train(_config(name, data, steps=steps, seed=seed, **places | every)):
            sys.exit(status)
    return checkpoint


def _measured(checkpoint: Path, data: str, samples: int) -> dict:
    """Return the distance of DDIM-50 samples to the data, in the feature space of the data's shipped checkpoint."""
    file = checkpoint.parents[1] / f"distance-{samples}-{SPACING}.json"
    if not file.exists():
        unet = DDPMLabPipeline.from_checkpoint(checkpoint).unet
        space = load_feature_space(REPOSITORY / "checkpoints" / data)
        settings = SamplingSettings(num_inference_steps=50, timestep_spacing=SPACING, num_images=samples)
        images = draw_samples(checkpoint, settings, cache=checkpoint.parents[1] / "samples")
        write_json(file, {"gflop": flops_of_one_call(unet) / 1e9, **asdict(distance(space, space.features(images)))})
    return json.loads(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    accept_any_encoding()
    sys.exit(main())
