"""The shipped checkpoints: a clone of the repository has weights that work, with complete records and cards."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from huggingface_hub import ModelCard

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = ("pixel-faces", "fashion-mnist", "mnist")
SPACE_LIMIT = 10_000_000  # bytes a file in a Space's git without LFS
FLOP_LIMIT = 0.6e9  # a picture and call, counted as the trainings were planned: multiply and add are two


@pytest.fixture(params=SHIPPED)
def folder(request) -> Path:
    return REPOSITORY / "checkpoints" / request.param


def reference(folder: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (N, C, H, W) in [-1, 1] and labels (N,)."""
    with np.load(folder / "reference" / f"{split}.npz", allow_pickle=False) as arrays:
        images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2).float() / 127.5 - 1
        return images, torch.from_numpy(arrays["labels"].astype(np.int64))


def test_all_three_are_there():
    assert {path.name for path in (REPOSITORY / "checkpoints").iterdir() if path.is_dir()} >= set(SHIPPED)


def test_files_are_small_and_free_of_code(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) < SPACE_LIMIT
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".png", ".npz", ".md"}


def test_stock_diffusers_loads_a_network_that_has_learned(folder):
    """The noise that it finds in test pictures, against stock add_noise: a mean square error far below 1 (no network)
    and below that of the best guess that sees the noise level only for pictures of this variance."""
    unet = UNet2DModel.from_pretrained(folder, subfolder="unet", use_safetensors=True).eval()
    scheduler = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
    images, labels = (rows[:64] for rows in reference(folder, "test"))
    generator = torch.Generator().manual_seed(0)
    eps = torch.randn(images.shape, generator=generator)
    t = torch.linspace(100, 900, 64).long()
    given = {} if unet.config.num_class_embeds is None else {"class_labels": labels}
    with torch.no_grad():
        answer = unet(scheduler.add_noise(images, eps, t), t, **given).sample
    variance = images.var()
    ab = scheduler.alphas_cumprod[t]
    linear_guess = (ab * variance / (ab * variance + 1 - ab)).mean()
    assert (answer - eps).square().mean() < 0.35 * linear_guess


def test_the_cost_is_what_two_cores_can_bear(folder):
    from torch.utils.flop_counter import FlopCounterMode

    unet = UNet2DModel.from_pretrained(folder, subfolder="unet", use_safetensors=True)
    x = torch.zeros(1, unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
    labels = {} if unet.config.num_class_embeds is None else {"class_labels": torch.zeros(1, dtype=torch.long)}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet(x, 5, **labels)
    assert counter.get_total_flops() <= FLOP_LIMIT


def test_the_stock_pipeline_samples_mnist():
    pipeline = DDPMPipeline.from_pretrained(REPOSITORY / "checkpoints" / "mnist", use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline(num_inference_steps=50, generator=torch.Generator().manual_seed(0)).images[0]
    pixels = np.asarray(image)
    assert pixels.shape == (28, 28)
    assert 10 < pixels.mean() < 90 and (pixels < 20).mean() > 0.5  # a bright stroke on black, not grey noise


def test_the_record_says_how_the_weights_came_to_be(folder):
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert record["hours_with_init_from"] >= record["hours"] > 0.2
    assert record["steps"] > 1000 and record["weights"] == "EMA" and len(record["history"]) > 30
    assert record["data"]["name"] == folder.name
    losses = [entry["loss"] for entry in record["history"] if "loss" in entry]
    # From nothing it falls by far; a checkpoint that was trained on is better at its end, if by little
    share = 1.0 if record["settings"]["init_from"] else 0.5
    assert np.mean(losses[-10:]) < share * np.mean(losses[:1] if share < 1 else losses[:10])


def test_the_card_is_complete(folder):
    card = ModelCard.load(folder / "README.md")
    assert card.data.license and card.data.model_name == folder.name and "$" not in card.text


def test_the_reference_is_of_the_data_that_the_record_names(folder):
    facts = json.loads((folder / "reference" / "reference.json").read_text(encoding="utf-8"))
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert facts["class_names"] == record["data"]["class_names"]
    train, test = (reference(folder, split) for split in ("train", "test"))
    assert len(train[0]) >= 5000 and len(test[0]) >= 1000
    assert set(train[1].tolist()) == set(test[1].tolist()) == set(range(len(facts["class_names"])))
    seen = {row.numpy().tobytes() for row in train[0]}
    assert not any(row.numpy().tobytes() in seen for row in test[0])
