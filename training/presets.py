"""Presets: data, network and a recipe for two cores of each shipped checkpoint, and a start for your own pictures.

The cards and training/README.md say how the shipped checkpoints were trained, on a GPU.
"""

PRESETS: dict[str, dict] = {
    "pixel-faces": dict(
        data="pixel-faces",
        block_out_channels=(32, 64, 128),
        layers_per_block=2,
        minutes=60,
    ),
    "fashion-mnist": dict(
        data="fashion-mnist",
        block_out_channels=(32, 64, 128),
        layers_per_block=1,
        minutes=60,
    ),
    "mnist": dict(
        data="mnist",
        class_conditional=False,
        block_out_channels=(32, 64, 128),
        layers_per_block=1,
        minutes=60,
    ),
    # 0.46 GFLOP per picture and timestep: within hours of one core a larger network would see too few pictures.
    # Plain loss from the start: min-SNR leaves grain on the paper.
    "hanzi": dict(
        data="hanzi",
        block_out_channels=(24, 48, 96, 128),
        norm_num_groups=8,
        layers_per_block=1,
        attention_levels=(2,),
        loss_weighting="simple",
        minutes=720,
    ),
    "small-pictures": dict(
        data="pictures",
        image_size=32,
        block_out_channels=(32, 64, 128),
        layers_per_block=1,
        minutes=120,
    ),
}

NO_PRESET = dict(minutes=60)


def preset(name: str) -> dict:
    """Return the fields of a preset, with the run's name my-<preset>. Raises ValueError for an unknown preset."""
    if name not in PRESETS:
        raise ValueError(f"preset: {name!r} is unknown; known are {', '.join(PRESETS)}")
    return {"name": f"my-{name}", **PRESETS[name]}
