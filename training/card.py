"""Writes a checkpoint's model card: the template card.md, filled in from the training and its record."""

from pathlib import Path
from string import Template

from huggingface_hub import ModelCard, ModelCardData

from training.loop import Training

CARD = Path(__file__).with_name("card.md")
EVALUATION = ("<!-- evaluation -->", "<!-- /evaluation -->")

UNCONDITIONAL_USAGE = """\
from diffusers import DDPMPipeline

pipeline = DDPMPipeline.from_pretrained("path/of/this/folder", use_safetensors=True)
pipeline(batch_size=4).images[0].save("sample.png")"""

CONDITIONAL_USAGE = """\
import torch
from diffusers import DDPMScheduler, UNet2DModel

folder = "path/of/this/folder"
unet = UNet2DModel.from_pretrained(folder, subfolder="unet", use_safetensors=True)
scheduler = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
labels = torch.tensor([0, 1, 2, 3])  # stock pipelines cannot pass labels, so the loop is written out
x = torch.randn(len(labels), unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
with torch.no_grad():
    for t in scheduler.timesteps:
        x = scheduler.step(unet(x, t, class_labels=labels).sample, t, x).prev_sample"""


def write_card(folder: Path, training: Training, record: dict) -> None:
    """Write the model card of an exported folder: README.md, which the Hub shows.

    record: the content of training.json.
    """
    config, data = training.config, training.data
    conditioning, usage = "unconditional", UNCONDITIONAL_USAGE
    if training.classes:
        conditioning = f"class-conditional: {', '.join(data.class_names)}; label {training.classes} means no class"
        usage = CONDITIONAL_USAGE
    weighting = config.loss_weighting + (f" (gamma {config.snr_gamma:g})" if config.loss_weighting == "min_snr" else "")
    betas = f"{config.beta_schedule}, {config.beta_start:g} to {config.beta_end:g}, T = {config.num_train_timesteps}"
    hardware = record["hardware"]
    metadata = ModelCardData(
        license=data.license.lower() if data.license != "unknown" else "other",
        library_name="diffusers",
        pipeline_tag="unconditional-image-generation",
        tags=["ddpm", "ddim", "unconditional-image-generation"],
        datasets=[data.hub_id] if data.hub_id else None,
        model_name=config.name,
    )
    height, width, channels = data.image_shape
    held_out = [entry["held_out_eps_mse_ema"] for entry in record["history"] if "held_out_eps_mse_ema" in entry]
    parameters = sum(p.numel() for p in training.raw_unet.parameters())
    text = Template(CARD.read_text(encoding="utf-8")).substitute(
        metadata=metadata.to_yaml(),
        name=config.name,
        data=data.name,
        source=data.source or "not stated",
        license=data.license,
        shape=f"{height}x{width}, {'grey' if channels == 1 else 'RGB'}",
        train=f"{len(data.train):,}",
        test=f"{len(data.test):,}",
        conditioning=conditioning,
        parameters=f"{parameters / 1e6:.2f} million",
        widths=", ".join(map(str, training.raw_unet.config.block_out_channels)),
        steps=f"{record['steps']:,}",
        batch=config.batch_size,
        hours=f"{record['hours']:.2f}",
        total_hours=f"{record['hours_with_init_from']:.2f}",
        hardware=f"{hardware['device']}, {hardware['processes']} process(es), precision {hardware['mixed_precision']}",
        prediction=config.prediction_type,
        weighting=weighting,
        betas=betas,
        held_out=f"{held_out[-1]:.5f}" if held_out else "not measured",
        usage=usage,
    )
    ModelCard(text).save(folder / "README.md")


def write_evaluation(folder: Path, table: str, command: str) -> None:
    """Replace the evaluation table of a checkpoint's model card, and the command below it.

    Raises ValueError if the card lacks the two evaluation markers.
    """
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8")
    before, begun, rest = text.partition(EVALUATION[0])
    _, ended, after = rest.partition(EVALUATION[1])
    if not begun or not ended:
        raise ValueError(f"{card}: has no place for an evaluation (between {EVALUATION[0]} and {EVALUATION[1]})")
    card.write_text(f"{before}{begun}\n{table}\n\n`{command}`\n{ended}{after}", encoding="utf-8")
