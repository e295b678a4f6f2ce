"""The data and networks of the shipped checkpoints, with a recipe for two cores; and a start for one's own pictures.

How the shipped ones were trained, on a GPU, is in their cards and in training/README.md.
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
    # At most 0.8 GFLOP a picture and timestep. The plain loss from the start: min-SNR leaves a grain on paper.
    "hanzi": dict(
        data="hanzi",
        block_out_channels=(32, 64, 128, 128),
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
    """The fields of a preset; the run is called my-<preset>. Raises ValueError for an unknown one."""
    if name not in PRESETS:
        raise ValueError(f"preset: {name!r} is unknown; known are {', '.join(PRESETS)}")
    return {"name": f"my-{name}", **PRESETS[name]}
