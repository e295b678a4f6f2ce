"""Judge the configs of a checkpoint by their own arithmetic, before anything of their sizes is built.

config: as read from JSON, unchecked; a missing key has the default of diffusers' class. All functions raise
CheckpointError with the name of the folder, the setting and what is allowed.
"""

import inspect
import math
from collections.abc import Mapping
from typing import Any

from diffusers import UNet2DModel

from diffusion.errors import CheckpointError, shortened

UNET, SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"
MAX_SIDE = 1024
MAX_LEVELS, MAX_CHANNELS, MAX_LAYERS = 8, 4096, 16
MAX_TRAIN_TIMESTEPS = 10_000
MAX_WEIGHT_BYTES = 2 * 2**30
MAX_CALL_BYTES = 2 * 2**30
"""About what one call for one picture may need beside the weights."""
MAX_EMBEDS = 100_000
KEPT = 6
"""Arrays of a level's size that are alive at once, beside the skip connections."""

DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(UNet2DModel.__init__).parameters.items()
    if parameter.default is not inspect.Parameter.empty
}


def check_unet_config(config: Mapping[str, Any], name: str) -> None:
    """Check the config of a U-Net: sizes that fit each other, and that one call fits in memory."""
    config = DEFAULTS | dict(config)
    if config.get("quantization_config") is not None:
        raise CheckpointError(name, "quantised")
    height, width = sample_shape(config, name)
    channels = _wholes(config, "block_out_channels", name, 1, MAX_CHANNELS)
    _whole(config, "layers_per_block", name, 1, MAX_LAYERS)
    for setting in ("in_channels", "out_channels"):
        _whole(config, setting, name, 1, MAX_CHANNELS)
    if config["num_class_embeds"] is not None:
        _whole(config, "num_class_embeds", name, 1, MAX_EMBEDS)
    blocks = [config[setting] for setting in ("down_block_types", "up_block_types")]
    if any(not isinstance(types, list | tuple) or len(types) != len(channels) for types in blocks):
        raise CheckpointError(name, "levels_differ", levels=len(channels))
    groups = _whole(config, "norm_num_groups", name, 1, MAX_CHANNELS)
    if any(count % groups for count in channels):
        raise CheckpointError(name, "norm_groups", groups=groups, channels=shortened(list(channels)))
    multiple = 2 ** (len(channels) - 1)
    if height % multiple or width % multiple:
        raise CheckpointError(name, "not_multiple", multiple=multiple, got=f"{height} × {width}")
    if (needed := call_bytes(config, height, width, channels)) > MAX_CALL_BYTES:
        raise CheckpointError(name, "call_large", needed=_megabytes(needed), most=_megabytes(MAX_CALL_BYTES))


def sample_shape(config: Mapping[str, Any], name: str = "unet") -> tuple[int, int]:
    """Return (height, width) of a U-Net's pictures: sample_size is the side of squares, or a list of both."""
    size = config["sample_size"]
    sides = list(size) if isinstance(size, list | tuple) else [size, size]
    if len(sides) != 2 or not all(_is_whole(side) and 1 <= side <= MAX_SIDE for side in sides):
        raise CheckpointError(name, "sample_size", most=MAX_SIDE, got=shortened(size))
    return sides[0], sides[1]


def call_bytes(config: Mapping[str, Any], height: int, width: int, channels: tuple[int, ...]) -> int:
    """Return about how many bytes of float32 a call for one picture keeps at once: a rough bound from the sizes."""
    layers, heads_of = config["layers_per_block"], config["attention_head_dim"]
    kept, largest_attention = 0, 0
    for level, (count, kind) in enumerate(zip(channels, config["down_block_types"], strict=True)):
        places = height * width // 4**level
        kept += places * count * (layers + 1 + KEPT) * 4
        is_last = level == len(channels) - 1
        if "Attn" in str(kind) or (is_last and config["add_attention"]):
            heads = max(1, count // heads_of) if _is_whole(heads_of) and heads_of > 0 else 1
            largest_attention = max(largest_attention, places**2 * heads * 4)
    return kept + largest_attention


def check_scheduler_config(config: Mapping[str, Any], name: str) -> None:
    """Check the kinds and ranges of what the samplers here read in a scheduler's config."""
    if "num_train_timesteps" in config:
        _whole(config, "num_train_timesteps", name, 2, MAX_TRAIN_TIMESTEPS, SCHEDULER)
    for setting in ("beta_start", "beta_end", "clip_sample_range"):
        value = config.get(setting, 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise CheckpointError(name, "config_number", file=SCHEDULER, setting=setting, got=shortened(value))
    betas = config.get("trained_betas")
    if betas is not None and (
        not isinstance(betas, list | tuple)
        or len(betas) > MAX_TRAIN_TIMESTEPS
        or not all(isinstance(beta, int | float) and not isinstance(beta, bool) for beta in betas)
    ):
        raise CheckpointError(name, "config_betas", most=MAX_TRAIN_TIMESTEPS, got=shortened(betas))
    for setting in ("variance_type", "prediction_type", "beta_schedule"):
        value = config.get(setting)
        if value is not None and not isinstance(value, str):
            raise CheckpointError(name, "config_text", file=SCHEDULER, setting=setting, got=shortened(value))


def check_weight_bytes(size: int, name: str) -> None:
    """Check the size of all weight files together, in bytes."""
    if size > MAX_WEIGHT_BYTES:
        raise CheckpointError(name, "weights_large", needed=_megabytes(size), most=_megabytes(MAX_WEIGHT_BYTES))


def _whole(config: Mapping, setting: str, name: str, least: int, most: int, file: str = UNET) -> int:
    value = config[setting]
    if not _is_whole(value) or not least <= value <= most:
        places = {"setting": setting, "least": least, "most": most, "got": shortened(value)}
        raise CheckpointError(name, "config_whole", file=file, **places)
    return value


def _wholes(config: Mapping, setting: str, name: str, least: int, most: int) -> tuple[int, ...]:
    values = config[setting]
    is_list = isinstance(values, list | tuple) and 1 <= len(values) <= MAX_LEVELS
    if not is_list or not all(_is_whole(value) and least <= value <= most for value in values):
        places = {"setting": setting, "count": MAX_LEVELS, "least": least, "most": most, "got": shortened(values)}
        raise CheckpointError(name, "config_wholes", file=UNET, **places)
    return tuple(values)


def _is_whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"
