"""Reads a checkpoint folder, or says in one sentence why it does not. Nothing in a folder is ever executed.

A checkpoint is what diffusers' DDPMPipeline.save_pretrained writes: model_index.json, unet/ with safetensors,
scheduler/. Pickled weights, other classes and code of one's own are refused.
"""

import hashlib
import json
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from safetensors import safe_open

from diffusion.gaussian import PredictionType
from diffusion.schedule import NoiseSchedule

PIPELINES = ("DDPMPipeline", "DDIMPipeline")
SCHEDULERS = {"DDPMScheduler": DDPMScheduler, "DDIMScheduler": DDIMScheduler}
WEIGHTS = "diffusion_pytorch_model.safetensors"
MAX_JSON = 1_000_000


class CheckpointError(ValueError):
    """A folder is no checkpoint that this program reads; the text is one sentence that says why."""


def load_checkpoint(folder: str | Path) -> tuple[UNet2DModel, DDPMScheduler | DDIMScheduler]:
    """The network, in eval mode, and the scheduler of a local checkpoint folder. Raises CheckpointError."""
    folder = Path(folder)
    scheduler_class = SCHEDULERS[_check_index(folder)]
    weight_files(folder)
    try:
        unet, report = UNet2DModel.from_pretrained(
            folder / "unet", use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        scheduler = scheduler_class.from_pretrained(folder / "scheduler", local_files_only=True)
    except Exception as error:  # whatever diffusers, torch and safetensors raise over a broken file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{folder.name}: cannot be loaded: {reason[:300]}") from error
    wrong = [name for key in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in report[key]]
    if wrong:  # diffusers only warns, and leaves such weights at random
        raise CheckpointError(f"{folder.name}: weights and unet/config.json do not fit: {wrong[0]}")
    check_network(unet, folder.name)
    check_scheduler(scheduler.config, folder.name)
    for parameter in unet.parameters():
        # Weights mapped from the file lie at any address, and kernels round by alignment: with their own memory the
        # pictures are those of the network that was saved, to the last bit.
        parameter.data = parameter.data.clone()
    return unet.eval(), scheduler


def sketch_checkpoint(folder: str | Path) -> tuple[UNet2DModel, DDPMScheduler | DDIMScheduler]:
    """The same, but the network is on torch's meta device: its facts are known, and no weight is read.

    The names and shapes of the weights are checked in the heads of their files. Raises CheckpointError as
    `load_checkpoint` does; it is asked wherever the heads do not fit, for older networks whose weights it renames.
    """
    folder = Path(folder)
    scheduler_class = SCHEDULERS[_check_index(folder)]
    files = weight_files(folder)
    try:
        with torch.device("meta"):
            unet = UNet2DModel.from_config(UNet2DModel.load_config(folder / "unet", local_files_only=True))
        scheduler = scheduler_class.from_pretrained(folder / "scheduler", local_files_only=True)
        fits = _shapes(files) == {name: list(weight.shape) for name, weight in unet.state_dict().items()}
    except Exception:  # whatever it is, loading finds it too, and says it
        fits = False
    if not fits:
        return load_checkpoint(folder)
    check_network(unet, folder.name)
    check_scheduler(scheduler.config, folder.name)
    return unet.eval(), scheduler


def checkpoint_sha256(folder: str | Path) -> str:
    """The hash of everything that decides a checkpoint's pictures: the files of its network and scheduler."""
    folder = Path(folder)
    files = [
        folder / "unet" / "config.json",
        *(folder / "unet").glob("*.safetensors"),
        *(folder / "scheduler").iterdir(),
    ]
    digest = hashlib.sha256()
    for file in sorted(filter(Path.is_file, files)):
        with file.open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").hexdigest()
        digest.update(f"{content}  {file.relative_to(folder).as_posix()}\n".encode())  # as sha256sum prints it
    return digest.hexdigest()


def check_network(unet: UNet2DModel, name: str = "unet") -> None:
    """Raises CheckpointError where a U-Net is of a kind that the samplers here do not understand."""
    if not isinstance(unet, UNet2DModel):
        raise CheckpointError(f"{name}: must be a UNet2DModel, got {type(unet).__name__}")
    config = unet.config
    if not isinstance(config.sample_size, int):
        raise CheckpointError(f"{name}: sample_size must be one number, the side of square pictures")
    if config.in_channels != config.out_channels or config.in_channels not in (1, 3):
        raise CheckpointError(
            f"{name}: needs as many channels out as in, 1 or 3, got {config.in_channels} in, {config.out_channels} out"
        )
    if config.time_embedding_type != "positional":
        raise CheckpointError(f"{name}: a {config.time_embedding_type} time embedding has no timestep between two")
    if config.class_embed_type is not None:
        raise CheckpointError(f"{name}: class_embed_type {config.class_embed_type} is unknown; labels are numbers here")
    if config.num_class_embeds is not None and config.num_class_embeds < 2:
        raise CheckpointError(f"{name}: num_class_embeds must be at least 2, one class and 'no class'")


def check_scheduler(config, name: str = "scheduler") -> None:
    """Raises CheckpointError where a scheduler's config asks for something that the samplers here do not do."""
    known = PredictionType.__args__
    if config["prediction_type"] not in known:
        raise CheckpointError(f"{name}: prediction_type {config['prediction_type']!r} is not one of {', '.join(known)}")
    if config.get("thresholding"):
        raise CheckpointError(f"{name}: dynamic thresholding is not supported")
    if config.get("clip_sample_range", 1.0) != 1.0:
        raise CheckpointError(f"{name}: clip_sample_range must be 1, got {config['clip_sample_range']}")
    if config.get("variance_type", "fixed_small").startswith("learned"):
        raise CheckpointError(f"{name}: a learned variance is not supported")
    try:
        schedule = NoiseSchedule.from_scheduler_config(config)
    except ValueError as error:
        raise CheckpointError(f"{name}: {error}") from None
    if len(schedule) != config["num_train_timesteps"]:
        raise CheckpointError(f"{name}: {len(schedule)} trained_betas, but num_train_timesteps is another number")


def _check_index(folder: Path) -> str:
    """The scheduler's class name, after a check of every name in model_index.json and of the two config files."""
    index = _read_json(folder, "model_index.json")
    if index.get("_class_name") not in PIPELINES:
        raise CheckpointError(
            f"{folder.name}: its pipeline is {index.get('_class_name')!r}, known are {', '.join(PIPELINES)}"
        )
    parts = {key: value for key, value in index.items() if not key.startswith("_")}
    if sorted(parts) != ["scheduler", "unet"]:
        raise CheckpointError(f"{folder.name}: model_index.json must name a unet and a scheduler, and no more")
    if parts["unet"] != ["diffusers", "UNet2DModel"]:
        raise CheckpointError(f"{folder.name}: its unet is {parts['unet']}, known is diffusers' UNet2DModel")
    if parts["scheduler"] not in [["diffusers", name] for name in SCHEDULERS]:
        raise CheckpointError(
            f"{folder.name}: its scheduler is {parts['scheduler']}, known are {', '.join(SCHEDULERS)}"
        )
    for file, (_, name) in (
        ("unet/config.json", parts["unet"]),
        ("scheduler/scheduler_config.json", parts["scheduler"]),
    ):
        found = _read_json(folder, file).get("_class_name")
        if found != name:
            raise CheckpointError(f"{folder.name}: {file} is of a {found}, model_index.json says {name}")
    return parts["scheduler"][1]


def weight_files(folder: Path) -> list[Path]:
    """The files whose weights diffusers loads: those that an index names, else the one. Raises CheckpointError."""
    unet = folder / "unet"
    if not (unet / f"{WEIGHTS}.index.json").is_file():
        if not (unet / WEIGHTS).is_file():
            raise CheckpointError(f"{folder.name}: unet/ has no safetensors weights (pickled ones are not read)")
        return [unet / WEIGHTS]
    shards = _read_json(folder, f"unet/{WEIGHTS}.index.json").get("weight_map")
    names = set(shards.values()) if isinstance(shards, dict) and shards else {None}
    for name in names:
        if not isinstance(name, str) or not name.endswith(".safetensors") or Path(name).name != name:
            raise CheckpointError(f"{folder.name}: the index of the weights names {name!r}, not a safetensors file")
    return [unet / name for name in sorted(names)]


def _shapes(files: list[Path]) -> dict[str, list[int]]:
    """Name -> shape of every weight, from the heads of its files."""
    shapes = {}
    for file in files:
        with safe_open(file, framework="pt") as weights:
            shapes |= {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118 no dict
    return shapes


def _read_json(folder: Path, file: str) -> dict:
    path = folder / file
    try:
        if path.stat().st_size > MAX_JSON:
            raise CheckpointError(f"{folder.name}: {file} is too large")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise CheckpointError(f"{folder.name}: is no checkpoint folder, it has no {file}") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{folder.name}: {file} is not JSON") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{folder.name}: {file} is not a JSON object")
    return content
