"""The valid forms of a checkpoint folder; any other is refused in one sentence."""

import json
import shutil

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, EulerDiscreteScheduler
from safetensors.torch import load_file, save_file

from diffusion.checkpoint import CheckpointError, load_checkpoint
from diffusion.pipeline import DDPMLabPipeline
from tests.networks import make_unet

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def edit(folder, file, **changes):
    """Change (or, with None, take out) keys of a JSON file."""
    content = json.loads((folder / file).read_text())
    content = {key: value for key, value in (content | changes).items() if value is not None}
    (folder / file).write_text(json.dumps(content))


def refuse(folder, reason):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    text = str(caught.value)
    assert text.startswith("tiny: ")
    assert reason in text
    assert "\n" not in text


def test_a_good_folder_loads_and_knows_its_name(checkpoint, unet):
    pipeline = DDPMLabPipeline.from_checkpoint(checkpoint)
    assert (pipeline.checkpoint, pipeline.classes, pipeline.num_train_timesteps) == ("tiny", 0, 1000)
    assert pipeline.image_shape == (1, 8, 8)
    assert not pipeline.unet.training
    for name, weight in unet.state_dict().items():
        assert torch.equal(weight, pipeline.unet.state_dict()[name])


def test_sharded_weights_load(tmp_path, unet):
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "tiny", max_shard_size="20KB")
    assert not (tmp_path / "tiny" / WEIGHTS).exists()
    loaded, _ = load_checkpoint(tmp_path / "tiny")
    assert torch.equal(loaded.conv_out.weight, unet.conv_out.weight)
    index = f"{WEIGHTS}.index.json"
    content = json.loads((tmp_path / "tiny" / index).read_text())
    for wrong in ("evil.bin", "../other.safetensors", 3):
        edit(tmp_path / "tiny", index, weight_map=content["weight_map"] | {"conv_out.weight": wrong})
        refuse(tmp_path / "tiny", "not a safetensors file")


@pytest.mark.parametrize(
    ("file", "changes", "reason"),
    [
        ("model_index.json", {"_class_name": "StableDiffusionPipeline"}, "its pipeline is 'StableDiffusionPipeline'"),
        ("model_index.json", {"_class_name": ["my_code", "Evil"]}, "its pipeline is ['my_code', 'Evil']"),
        ("model_index.json", {"unet": ["my_code", "UNet2DModel"]}, "its unet is"),
        ("model_index.json", {"unet": ["diffusers", "UNet2DConditionModel"]}, "its unet is"),
        ("model_index.json", {"unet": None}, "must name a unet and a scheduler"),
        ("model_index.json", {"vae": ["diffusers", "AutoencoderKL"]}, "must name a unet and a scheduler"),
        ("model_index.json", {"scheduler": ["diffusers", "EulerDiscreteScheduler"]}, "its scheduler is"),
        ("model_index.json", {"scheduler": {}}, "its scheduler is"),
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "unet/config.json is of a UNet2DConditionModel"),
        ("unet/config.json", {"block_out_channels": [8, 32]}, "tiny: "),
        ("unet/config.json", {"time_embedding_type": "fourier"}, "tiny: "),
        ("unet/config.json", {"class_embed_type": "timestep"}, "tiny: "),
        ("unet/config.json", {"num_class_embeds": 5}, "do not fit: class_embedding.weight"),
        ("scheduler/scheduler_config.json", {"_class_name": "DDIMScheduler"}, "scheduler_config.json is of a DDIM"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "prediction_type 'flow'"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "laplace"}, "beta_schedule: 'laplace' is unknown"),
        ("scheduler/scheduler_config.json", {"beta_end": 2.0}, "beta_end: must lie in"),
        ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ("scheduler/scheduler_config.json", {"thresholding": True}, "dynamic thresholding"),
        ("scheduler/scheduler_config.json", {"clip_sample_range": 2.0}, "clip_sample_range"),
        ("scheduler/scheduler_config.json", {"variance_type": "learned_range"}, "learned variance"),
        ("scheduler/scheduler_config.json", {"trained_betas": [0.1, 0.2]}, "2 trained_betas"),
    ],
)
def test_other_classes_and_settings_are_refused(checkpoint, file, changes, reason):
    edit(checkpoint, file, **changes)
    refuse(checkpoint, reason)


@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"])
def test_missing_or_broken_files_are_refused(checkpoint, file):
    (checkpoint / file).write_text("{")
    refuse(checkpoint, f"{file} is not JSON")
    (checkpoint / file).write_text("[1]")
    refuse(checkpoint, f"{file} is not a JSON object")
    (checkpoint / file).write_bytes(b"\xff\xfe\x00")
    refuse(checkpoint, f"{file} is not JSON")
    (checkpoint / file).write_text("[" * 100_000)
    refuse(checkpoint, f"{file} is not JSON")
    (checkpoint / file).write_text(" " * 2_000_000)
    refuse(checkpoint, f"{file} is too large")
    (checkpoint / file).unlink()
    refuse(checkpoint, f"has no {file}")


def test_pickled_weights_are_refused(checkpoint):
    weights = load_file(checkpoint / WEIGHTS)
    (checkpoint / WEIGHTS).unlink()
    torch.save(weights, checkpoint / "unet" / "diffusion_pytorch_model.bin")
    refuse(checkpoint, "pickled ones are not read")


def test_weights_that_do_not_fit_are_refused(checkpoint):
    weights = load_file(checkpoint / WEIGHTS)
    missing = {name: weight for name, weight in weights.items() if name != "conv_out.weight"}
    save_file(missing, checkpoint / WEIGHTS, metadata={"format": "pt"})
    refuse(checkpoint, "conv_out.weight")  # diffusers alone would leave it at random
    save_file(weights | {"extra": torch.zeros(1)}, checkpoint / WEIGHTS, metadata={"format": "pt"})
    refuse(checkpoint, "extra")
    (checkpoint / WEIGHTS).write_bytes(b"not weights")
    refuse(checkpoint, "cannot be loaded")


def test_a_folder_that_is_none_is_refused(checkpoint, tmp_path):
    shutil.rmtree(checkpoint)
    refuse(checkpoint, "is no checkpoint folder")
    checkpoint.write_text("a file")
    refuse(checkpoint, "is no checkpoint folder")


def test_the_pipeline_itself_refuses_what_it_cannot_sample(unet):
    with pytest.raises(CheckpointError, match="rescale_betas_zero_snr"):
        DDPMLabPipeline(unet, DDPMScheduler(rescale_betas_zero_snr=True))
    with pytest.raises(CheckpointError, match=r"^scheduler: must be a DDPMScheduler"):
        DDPMLabPipeline(unet, EulerDiscreteScheduler())
    strange = make_unet()
    strange.register_to_config(time_embedding_type="fourier")
    with pytest.raises(CheckpointError, match="fourier"):
        DDPMLabPipeline(strange, DDPMScheduler())
