"""Builds the U-Net of a training from its settings, or loads it from a checkpoint."""

from pathlib import Path

import torch
from diffusers import UNet2DModel

from diffusion.checkpoint import CheckpointError, load_checkpoint
from diffusion.schedule import NoiseSchedule
from training.config import TrainConfig
from training.data import DataSet


def build_unet(config: TrainConfig, data: DataSet) -> UNet2DModel:
    """Build diffusers' UNet2DModel for these pictures, with weights drawn from the seed.

    A network with labels has one embedding more than classes: the last means "no class". Raises ValueError, naming the
    field, if the pictures' side cannot be halved between all levels.
    """
    height, _, channels = data.image_shape
    halvings = len(config.block_out_channels) - 1
    if height % 2**halvings:
        raise ValueError(
            f"block_out_channels: {halvings + 1} levels need an image_size divisible by {2**halvings}, got {height}"
        )
    levels = range(len(config.block_out_channels))
    torch.manual_seed(config.seed)
    return UNet2DModel(
        sample_size=height,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        down_block_types=["AttnDownBlock2D" if level in config.attention_levels else "DownBlock2D" for level in levels],
        up_block_types=[
            "AttnUpBlock2D" if level in config.attention_levels else "UpBlock2D" for level in reversed(levels)
        ],
        attention_head_dim=config.attention_head_dim,
        norm_num_groups=config.norm_num_groups,
        dropout=config.dropout,
        num_class_embeds=classes_of(config, data) + 1 if classes_of(config, data) else None,
    )


def classes_of(config: TrainConfig, data: DataSet) -> int:
    """Return the number of classes that the network is conditioned on; 0 if it is unconditional."""
    return data.classes if config.class_conditional else 0


def as_built(config: TrainConfig, unet: UNet2DModel) -> TrainConfig:
    """Return the config with the network's actual shape, which after init_from is the checkpoint's."""
    built = unet.config
    attention = (level for level, kind in enumerate(built.down_block_types) if kind.startswith("Attn"))
    shape = dict(
        block_out_channels=tuple(built.block_out_channels),
        layers_per_block=built.layers_per_block,
        attention_levels=tuple(attention),
        attention_head_dim=built.attention_head_dim,
        norm_num_groups=built.norm_num_groups,
    )
    return config.model_copy(update=shape)


def load_unet(config: TrainConfig, data: DataSet) -> UNet2DModel:
    """Load the U-Net of the checkpoint `config.init_from`, adapted to these pictures' size and classes.

    Widths, layers and attention come from the checkpoint. A class embedding for another number of classes starts from
    new weights. Raises ValueError, naming the field, if checkpoint and training do not fit together.
    """
    folder = Path(config.init_from)
    try:
        unet, scheduler = load_checkpoint(folder)
    except CheckpointError as error:
        raise ValueError(f"init_from: {error}") from error
    trained = scheduler.config
    fields = ["prediction_type", "num_train_timesteps"]
    if trained.get("trained_betas") is None:
        fields += ["beta_schedule", "beta_start", "beta_end"]
    elif not torch.equal(NoiseSchedule.from_scheduler_config(trained).betas, config.schedule().betas):
        raise ValueError("beta_schedule: init_from was trained with other betas, given one by one")
    for field in fields:
        own = getattr(config, field)
        if own != trained[field]:
            raise ValueError(f"{field}: init_from was trained with {trained[field]!r}, this training has {own!r}")
    height, _, channels = data.image_shape
    if channels != unet.config.in_channels:
        names = {1: "grey", 3: "rgb"}
        raise ValueError(
            f"color: init_from was trained on {names[unet.config.in_channels]} pictures, these are {names[channels]}"
        )
    levels = len(unet.config.block_out_channels)
    if height % 2 ** (levels - 1):
        raise ValueError(
            f"image_size: must be a multiple of {2 ** (levels - 1)} for the {levels} levels of init_from, got {height}"
        )
    classes = classes_of(config, data)
    settings = dict(
        unet.config, sample_size=height, num_class_embeds=classes + 1 if classes else None, dropout=config.dropout
    )
    torch.manual_seed(config.seed)
    fitted = UNet2DModel.from_config({key: value for key, value in settings.items() if not key.startswith("_")})
    own = fitted.state_dict()
    kept = {
        name: weight for name, weight in unet.state_dict().items() if name in own and own[name].shape == weight.shape
    }
    fitted.load_state_dict(kept, strict=False)  # load_checkpoint found all weights; only the class embedding can differ
    return fitted
