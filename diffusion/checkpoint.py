"""Load a checkpoint folder, or raise CheckpointError with a one-sentence reason. Nothing in a folder is executed.

A checkpoint is what diffusers' DDPMPipeline.save_pretrained writes: model_index.json, unet/ with safetensors,
scheduler/. Pickled weights, other classes and custom code are refused.
"""

import hashlib
import json
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from safetensors import safe_open

from diffusion.errors import CheckpointError, FieldError, shortened
from diffusion.gaussian import PredictionType
from diffusion.schedule import NoiseSchedule

PIPELINES = ("DDPMPipeline", "DDIMPipeline")
SCHEDULERS = {"DDPMScheduler": DDPMScheduler, "DDIMScheduler": DDIMScheduler}
WEIGHTS = "diffusion_pytorch_model.safetensors"
MAX_JSON = 1_000_000


def load_checkpoint(folder: str | Path) -> tuple[UNet2DModel, DDPMScheduler | DDIMScheduler]:
    """Return the network, in eval mode, and the scheduler of a local checkpoint folder. Raises CheckpointError."""
    folder = Path(folder)
    scheduler_class = SCHEDULERS[_check_index(folder)]
    weight_files(folder)
    try:
        unet, report = UNet2DModel.from_pretrained(
            folder / "unet", use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        scheduler = scheduler_class.from_pretrained(folder / "scheduler", local_files_only=True)
    except Exception as error:  # diffusers, torch and safetensors raise many types for a broken file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(folder.name, "unreadable", reason=reason[:300]) from error
    wrong = [name for key in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in report[key]]
    if wrong:  # diffusers only warns, and leaves such weights random
        raise CheckpointError(folder.name, "weights_differ", weight=wrong[0])
    check_network(unet, folder.name)
    check_scheduler(scheduler.config, folder.name)
    for parameter in unet.parameters():
        # Weights mapped from the file lie at any address, and kernels round differently by alignment. In memory of
        # their own, the pictures are those of the saved network to the last bit.
        parameter.data = parameter.data.clone()
    return unet.eval(), scheduler


def sketch_checkpoint(folder: str | Path) -> tuple[UNet2DModel, DDPMScheduler | DDIMScheduler]:
    """Like load_checkpoint, but with the network on torch's meta device: its config and shapes, and no weight is read.

    Names and shapes of the weights are checked in the headers of their files. If they differ, load_checkpoint is used
    instead, since it renames the weights of older networks. Raises CheckpointError as it does.
    """
    folder = Path(folder)
    scheduler_class = SCHEDULERS[_check_index(folder)]
    files = weight_files(folder)
    try:
        with torch.device("meta"):
            unet = UNet2DModel.from_config(UNet2DModel.load_config(folder / "unet", local_files_only=True))
        scheduler = scheduler_class.from_pretrained(folder / "scheduler", local_files_only=True)
        fits = _shapes(files) == {name: list(weight.shape) for name, weight in unet.state_dict().items()}
    except Exception:  # load_checkpoint meets the same problem and reports it
        fits = False
    if not fits:
        return load_checkpoint(folder)
    check_network(unet, folder.name)
    check_scheduler(scheduler.config, folder.name)
    return unet.eval(), scheduler


def checkpoint_sha256(folder: str | Path) -> str:
    """Return the SHA-256 of everything that decides a checkpoint's pictures: its network and scheduler files.

    Raises OSError if they cannot be read.
    """
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
    """Raise CheckpointError for a U-Net of a kind that the samplers here do not support."""
    if not isinstance(unet, UNet2DModel):
        raise CheckpointError(name, "not_unet", kind=type(unet).__name__)
    config = unet.config
    if not isinstance(config.sample_size, int):
        raise CheckpointError(name, "sample_size")
    if config.in_channels != config.out_channels or config.in_channels not in (1, 3):
        raise CheckpointError(name, "channels", inputs=config.in_channels, outputs=config.out_channels)
    if config.time_embedding_type != "positional":
        raise CheckpointError(name, "time_embedding", kind=str(config.time_embedding_type))
    if config.class_embed_type is not None:
        raise CheckpointError(name, "class_embed", kind=str(config.class_embed_type))
    if config.num_class_embeds is not None and config.num_class_embeds < 2:
        raise CheckpointError(name, "few_embeds")


def check_scheduler(config, name: str = "scheduler") -> None:
    """Raise CheckpointError for a scheduler config that asks for something the samplers here do not do."""
    known = PredictionType.__args__
    if config["prediction_type"] not in known:
        got = shortened(config["prediction_type"])
        raise CheckpointError(name, "prediction_type", got=got, known=", ".join(known))
    if config.get("thresholding"):
        raise CheckpointError(name, "thresholding")
    if config.get("clip_sample_range", 1.0) != 1.0:
        raise CheckpointError(name, "clip_range", got=str(config["clip_sample_range"]))
    if config.get("variance_type", "fixed_small").startswith("learned"):
        raise CheckpointError(name, "learned_variance")
    try:
        schedule = NoiseSchedule.from_scheduler_config(config)
    except FieldError as error:
        raise CheckpointError(name, "wrong_schedule", problem=error) from None
    if len(schedule) != config["num_train_timesteps"]:
        raise CheckpointError(name, "betas_count", count=len(schedule))


def _check_index(folder: Path) -> str:
    """Return the scheduler's class name, after checking every name in model_index.json and the two config files."""
    index = _read_json(folder, "model_index.json")
    if index.get("_class_name") not in PIPELINES:
        got = shortened(index.get("_class_name"))
        raise CheckpointError(folder.name, "pipeline_kind", got=got, known=", ".join(PIPELINES))
    parts = {key: value for key, value in index.items() if not key.startswith("_")}
    if sorted(parts) != ["scheduler", "unet"]:
        raise CheckpointError(folder.name, "parts")
    if parts["unet"] != ["diffusers", "UNet2DModel"]:
        raise CheckpointError(folder.name, "unet_kind", got=shortened(parts["unet"]))
    if parts["scheduler"] not in [["diffusers", name] for name in SCHEDULERS]:
        got = shortened(parts["scheduler"])
        raise CheckpointError(folder.name, "scheduler_kind", got=got, known=", ".join(SCHEDULERS))
    for file, (_, name) in (
        ("unet/config.json", parts["unet"]),
        ("scheduler/scheduler_config.json", parts["scheduler"]),
    ):
        found = _read_json(folder, file).get("_class_name")
        if found != name:
            raise CheckpointError(folder.name, "class_differs", file=file, found=str(found), named=name)
    return parts["scheduler"][1]


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files that diffusers loads: those in an index, else the single one. Raises CheckpointError."""
    unet = folder / "unet"
    if not (unet / f"{WEIGHTS}.index.json").is_file():
        if not (unet / WEIGHTS).is_file():
            raise CheckpointError(folder.name, "no_weights")
        return [unet / WEIGHTS]
    shards = _read_json(folder, f"unet/{WEIGHTS}.index.json").get("weight_map")
    names = set(shards.values()) if isinstance(shards, dict) and shards else {None}
    for name in names:
        if not isinstance(name, str) or not name.endswith(".safetensors") or Path(name).name != name:
            raise CheckpointError(folder.name, "weights_index", got=shortened(name))
    return [unet / name for name in sorted(names)]


def _shapes(files: list[Path]) -> dict[str, list[int]]:
    """Return name -> shape of every weight, from the headers of its files."""
    shapes = {}
    for file in files:
        with safe_open(file, framework="pt") as weights:
            shapes |= {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118 no dict
    return shapes


def _read_json(folder: Path, file: str) -> dict:
    path = folder / file
    try:
        if path.stat().st_size > MAX_JSON:
            raise CheckpointError(folder.name, "json_large", file=file)
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise CheckpointError(folder.name, "no_folder", file=file) from None
    except CheckpointError:
        raise
    except (ValueError, RecursionError):
        raise CheckpointError(folder.name, "file_not_json", file=file) from None
    if not isinstance(content, dict):
        raise CheckpointError(folder.name, "file_not_object", file=file)
    return content
