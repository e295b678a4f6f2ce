"""Load a checkpoint folder, or raise CheckpointError with a one-sentence reason. Nothing in a folder is executed.

A checkpoint is what diffusers' DDPMPipeline.save_pretrained writes: model_index.json, unet/ with safetensors,
scheduler/; or, as older ones have it, all files in one folder. Pickled weights, other classes and custom code are
refused, and so are sizes that no machine should try.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from safetensors import safe_open

from diffusion.checkpoint_config import (
    check_scheduler_config,
    check_unet_config,
    check_weight_bytes,
    sample_shape,
)
from diffusion.errors import CheckpointError, FieldError, shortened
from diffusion.gaussian import PredictionType
from diffusion.regular_files import IrregularFile, LargeFile, read_regular, regular_size
from diffusion.schedule import NoiseSchedule

PIPELINES = ("DDPMPipeline", "DDIMPipeline")
SCHEDULERS = {"DDPMScheduler": DDPMScheduler, "DDIMScheduler": DDIMScheduler}
CONFIG, SCHEDULER_CONFIG = "config.json", "scheduler_config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
VARIANTS = ("fp32", "fp16", "bf16")  # diffusers' names for weights in other precisions; computing is in float32
MAX_JSON = 1_000_000


def load_checkpoint(folder: str | Path) -> tuple[UNet2DModel, DDPMScheduler | DDIMScheduler]:
    """Return the network, in eval mode, and the scheduler of a local checkpoint folder. Raises CheckpointError."""
    folder = Path(folder)
    scheduler_class = SCHEDULERS[_check_index(folder)]
    _check_configs(folder)
    files = _checked_files(folder)
    try:
        unet, report = UNet2DModel.from_pretrained(
            _unet(folder),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            variant=_variant(files),
        )
        scheduler = _load_scheduler(scheduler_class, folder)
    except Exception as error:  # diffusers, torch and safetensors raise many types for a broken file
        raise CheckpointError.unreadable(folder.name, error) from error
    wrong = [name for key in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in report[key]]
    if wrong:  # diffusers only warns, and leaves such weights random
        raise CheckpointError(folder.name, "weights_differ", weight=wrong[0])
    check_network(unet, folder.name)
    check_scheduler(scheduler.config, folder.name)
    for name, parameter in unet.named_parameters():
        # Weights mapped from the file lie at any address, and kernels round differently by alignment. In memory of
        # their own, the pictures are those of the saved network to the last bit.
        parameter.data = parameter.data.float().clone()
        _check_finite(folder, name, parameter.data)
    return unet.eval(), scheduler


def sketch_checkpoint(folder: str | Path) -> tuple[UNet2DModel, DDPMScheduler | DDIMScheduler]:
    """Like load_checkpoint, but with the network on torch's meta device: its config and shapes, and no weight is kept.

    Names, shapes and numbers of the weights are checked in their files. If the names differ, load_checkpoint is used
    instead, since it renames the weights of older networks. Raises CheckpointError as it does.
    """
    folder = Path(folder)
    scheduler_class = SCHEDULERS[_check_index(folder)]
    _check_configs(folder)
    files = _checked_files(folder)
    try:
        with torch.device("meta"):
            unet = UNet2DModel.from_config(UNet2DModel.load_config(_unet(folder), local_files_only=True))
        scheduler = _load_scheduler(scheduler_class, folder)
    except Exception as error:
        raise CheckpointError.unreadable(folder.name, error) from error
    shapes = {}
    for name, weight in _read_weights(folder, files):
        _check_finite(folder, name, weight)
        shapes[name] = list(weight.shape)
    expected = {name: weight.shape for name, weight in unet.state_dict().items()}
    if shapes != {name: list(shape) for name, shape in expected.items()}:
        numbers = sum(shape.numel() for shape in expected.values())
        if sum(torch.Size(shape).numel() for shape in shapes.values()) != numbers:  # renaming changes no number
            differing = sorted(expected.keys() ^ shapes.keys()) or [
                next(n for n in expected if list(expected[n]) != shapes[n])
            ]
            raise CheckpointError(folder.name, "weights_differ", weight=differing[0])
        return load_checkpoint(folder)
    check_network(unet, folder.name)
    check_scheduler(scheduler.config, folder.name)
    return unet.eval(), scheduler


def checkpoint_sha256(folder: str | Path) -> str:
    """Return the SHA-256 of everything that decides a checkpoint's pictures: its network and scheduler files.

    Raises OSError if they cannot be read.
    """
    folder = Path(folder)
    try:
        weights = _checked_files(folder)
    except CheckpointError as error:
        raise OSError(str(error)) from None
    files = [_unet(folder) / CONFIG, *weights, _scheduler(folder) / SCHEDULER_CONFIG]
    digest = hashlib.sha256()
    for file in sorted(files):
        regular_size(file)
        with file.open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").hexdigest()
        digest.update(f"{content}  {file.relative_to(folder).as_posix()}\n".encode())  # as sha256sum prints it
    return digest.hexdigest()


def check_network(unet: UNet2DModel, name: str = "unet") -> None:
    """Raise CheckpointError for a U-Net of a kind that the samplers here do not support."""
    if not isinstance(unet, UNet2DModel):
        raise CheckpointError(name, "not_unet", kind=type(unet).__name__)
    config = unet.config
    sample_shape(config, name)
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
    check_scheduler_config(config, name)
    known = PredictionType.__args__
    if config["prediction_type"] not in known:
        got = shortened(config["prediction_type"])
        raise CheckpointError(name, "prediction_type", got=got, known=", ".join(known))
    if config.get("thresholding"):
        raise CheckpointError(name, "thresholding")
    if config.get("clip_sample_range", 1.0) != 1.0:
        raise CheckpointError(name, "clip_range", got=str(config["clip_sample_range"]))
    if (config.get("variance_type") or "fixed_small").startswith("learned"):
        raise CheckpointError(name, "learned_variance")
    try:
        schedule = NoiseSchedule.from_scheduler_config(config)
    except FieldError as error:
        raise CheckpointError(name, "wrong_schedule", problem=error) from None
    if len(schedule) != config["num_train_timesteps"]:
        raise CheckpointError(name, "betas_count", count=len(schedule))


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files that diffusers loads: those in an index, else the single one. Raises CheckpointError."""
    unet = _unet(folder)
    if (unet / f"{WEIGHTS}.index.json").is_file():
        shards = _read_json(folder, unet / f"{WEIGHTS}.index.json").get("weight_map")
        names = {*shards.values()} if isinstance(shards, dict) and shards and _is_hashable(shards) else {None}
        for name in names:
            if not isinstance(name, str) or not name.endswith(".safetensors") or Path(name).name != name:
                raise CheckpointError(folder.name, "weights_index", got=shortened(name))
        return [unet / name for name in sorted(names)]
    for name in (WEIGHTS, *(WEIGHTS.replace(".safetensors", f".{variant}.safetensors") for variant in VARIANTS)):
        if (unet / name).is_file():
            return [unet / name]
    raise CheckpointError(folder.name, "no_weights")


def _is_hashable(shards: dict) -> bool:
    return all(isinstance(name, str) for name in shards.values())


def _checked_files(folder: Path) -> list[Path]:
    """Return the weight files after their kind and size were checked."""
    files = weight_files(folder)
    try:
        check_weight_bytes(sum(map(regular_size, files)), folder.name)
    except OSError as error:
        raise CheckpointError.unreadable(folder.name, error) from None
    return files


def _variant(files: Sequence[Path]) -> str | None:
    """Return diffusers' name for the precision of the weights; None for the usual one."""
    names = {one: WEIGHTS.replace(".safetensors", f".{one}.safetensors") for one in VARIANTS}
    return next((variant for variant, name in names.items() if files[0].name == name), None)


def _unet(folder: Path) -> Path:
    """Return the folder of the network's files: unet/, or the checkpoint's own."""
    return folder if not (folder / "unet").is_dir() and (folder / CONFIG).is_file() else folder / "unet"


def _scheduler(folder: Path) -> Path:
    """Return the folder of the scheduler's file: scheduler/, or the checkpoint's own."""
    is_flat = not (folder / "scheduler").is_dir() and (folder / SCHEDULER_CONFIG).is_file()
    return folder if is_flat else folder / "scheduler"


def _load_scheduler(scheduler_class: type, folder: Path) -> DDPMScheduler | DDIMScheduler:
    config = _read_json(folder, _scheduler(folder) / SCHEDULER_CONFIG)
    # How diffusers said it before it had prediction_type; today it reads past it
    is_of_x_0 = config.get("predict_epsilon") is False and "prediction_type" not in config
    changes = {"prediction_type": "sample"} if is_of_x_0 else {}
    return scheduler_class.from_pretrained(_scheduler(folder), local_files_only=True, **changes)


def _check_index(folder: Path) -> str:
    """Return the scheduler's class name, after checking every name in model_index.json and the two config files."""
    index = _read_json(folder, folder / "model_index.json")
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
        (_unet(folder) / CONFIG, parts["unet"]),
        (_scheduler(folder) / SCHEDULER_CONFIG, parts["scheduler"]),
    ):
        found = _read_json(folder, file).get("_class_name")
        if found != name:
            shown = file.relative_to(folder).as_posix()
            raise CheckpointError(folder.name, "class_differs", file=shown, found=str(found), named=name)
    return parts["scheduler"][1]


def _check_configs(folder: Path) -> None:
    """Judge sizes and kinds in both configs before diffusers builds anything of them."""
    check_unet_config(_read_json(folder, _unet(folder) / CONFIG), folder.name)
    check_scheduler_config(_read_json(folder, _scheduler(folder) / SCHEDULER_CONFIG), folder.name)


def _check_finite(folder: Path, name: str, weight: torch.Tensor) -> None:
    if weight.is_floating_point() and not bool(weight.isfinite().all()):
        raise CheckpointError(folder.name, "weights_not_finite", weight=name)


def _read_weights(folder: Path, files: list[Path]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield name and value of every weight, mapped from its file. Raises CheckpointError."""
    for file in files:
        try:
            with safe_open(file, framework="pt") as weights:
                for name in weights.keys():  # noqa: SIM118 no dict
                    yield name, weights.get_tensor(name)
        except Exception as error:
            raise CheckpointError.unreadable(folder.name, error, file.relative_to(folder).as_posix()) from error


def _read_json(folder: Path, path: Path) -> dict:
    """Return the object in a JSON file of a checkpoint. Raises CheckpointError."""
    file = path.relative_to(folder).as_posix()
    try:
        content = json.loads(read_regular(path, MAX_JSON).decode("utf-8"))
    except LargeFile:
        raise CheckpointError(folder.name, "json_large", file=file) from None
    except IrregularFile:
        raise CheckpointError(folder.name, "irregular", file=file) from None
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(folder.name, "no_folder", file=file) from None
    except OSError as error:
        raise CheckpointError.unreadable(folder.name, error) from None
    except (ValueError, RecursionError):
        raise CheckpointError(folder.name, "file_not_json", file=file) from None
    if not isinstance(content, dict):
        raise CheckpointError(folder.name, "file_not_object", file=file)
    return content
