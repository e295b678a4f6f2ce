"""Configs of impossible or enormous networks are refused by arithmetic alone; odd but honest folders are loaded."""

import json
import os
import shutil
import tracemalloc

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from diffusion.checkpoint import checkpoint_sha256, load_checkpoint, sketch_checkpoint
from diffusion.checkpoint_config import call_bytes, check_unet_config
from diffusion.errors import CheckpointError
from diffusion.pipeline import DDPMLabPipeline
from tests.diffusion.test_checkpoint import WEIGHTS, edit

UNET, SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"
MOST_BYTES = 20_000_000  # of Python's own, for a refusal

SIZES = (0, 17, 3, -16, 4000, 100_000, 10**18, True, 16.0, "16", [], [16], [16, 0], [16, 17], [8, 8, 8], {})


def refuse(folder, reason):
    for load in (sketch_checkpoint, load_checkpoint):
        tracemalloc.start()
        with pytest.raises(CheckpointError) as caught:
            load(folder)
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        text = str(caught.value)
        assert text.startswith("tiny: ") and reason in text and "\n" not in text, text
        assert taken < MOST_BYTES


@pytest.mark.parametrize("size", SIZES, ids=repr)
def test_sizes_that_no_picture_has_are_refused(checkpoint, size):
    edit(checkpoint, UNET, sample_size=size)
    refuse(checkpoint, "multiples of 2" if size in (17, 3, [16, 17]) and size is not True else "sample_size")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"layers_per_block": 2000}, "layers_per_block must be a whole number from 1 to 16, got 2000"),
        ({"layers_per_block": 0}, "layers_per_block"),
        ({"layers_per_block": True}, "layers_per_block"),
        ({"block_out_channels": [8, 10**6]}, "block_out_channels must list 1 to 8 whole numbers from 1 to 4096"),
        ({"block_out_channels": [8] * 60}, "block_out_channels"),
        ({"block_out_channels": []}, "block_out_channels"),
        ({"block_out_channels": "8, 16"}, "block_out_channels"),
        ({"block_out_channels": [8, 16, 16]}, "must each name 3 blocks"),
        ({"down_block_types": "DownBlock2D"}, "must each name 2 blocks"),
        ({"down_block_types": ["DownBlock2D", "NoSuchBlock2D"]}, "cannot be loaded"),
        ({"norm_num_groups": 3}, "norm_num_groups must divide each of block_out_channels, got 3"),
        ({"norm_num_groups": 0}, "norm_num_groups"),
        ({"in_channels": 10**9}, "in_channels"),
        ({"num_class_embeds": 10**9}, "num_class_embeds"),
        ({"num_class_embeds": -3}, "num_class_embeds"),
        ({"attention_head_dim": 0}, "cannot be loaded"),
        ({"attention_head_dim": "eight"}, "cannot be loaded"),
        ({"quantization_config": {"load_in_8bit": True}}, "quantised weights"),
        ({"act_fn": "no such function"}, "cannot be loaded"),
        ({"sample_size": 1024}, "one call of its network takes about"),
    ],
    ids=str,
)
def test_networks_that_cannot_be_are_refused(checkpoint, changes, reason):
    if "attention_head_dim" in changes:
        changes |= {"down_block_types": ["DownBlock2D", "AttnDownBlock2D"]}
    edit(checkpoint, UNET, **changes)
    refuse(checkpoint, reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_train_timesteps": 10**6}, "num_train_timesteps must be a whole number from 2 to 10000"),
        ({"num_train_timesteps": 10**8}, "num_train_timesteps"),
        ({"num_train_timesteps": 1}, "num_train_timesteps"),
        ({"num_train_timesteps": True}, "num_train_timesteps"),
        ({"num_train_timesteps": "1000"}, "num_train_timesteps"),
        ({"beta_end": "a"}, "beta_end must be a finite number"),
        ({"beta_start": True}, "beta_start must be a finite number"),
        ({"beta_start": []}, "beta_start"),
        ({"variance_type": 3}, "variance_type must be a text, got 3"),
        ({"variance_type": ["fixed_small"]}, "variance_type"),
        ({"prediction_type": 7}, "prediction_type"),
        ({"beta_schedule": {}}, "beta_schedule"),
        ({"trained_betas": "0.1"}, "trained_betas must list"),
        ({"trained_betas": [0.1, None]}, "trained_betas"),
        ({"trained_betas": [0.1] * 20_000}, "trained_betas"),
        ({"clip_sample_range": "1"}, "clip_sample_range"),
    ],
    ids=lambda one: str(one)[:60],
)
def test_schedules_that_cannot_be_are_refused(checkpoint, changes, reason):
    edit(checkpoint, SCHEDULER, **changes)
    refuse(checkpoint, reason)


@pytest.mark.parametrize("number", ["2e400", "-2e400", "NaN"])
@pytest.mark.parametrize(
    ("file", "setting"), [(UNET, "sample_size"), (SCHEDULER, "beta_end"), (SCHEDULER, "beta_start")]
)
def test_numbers_beyond_all_numbers_are_refused(checkpoint, file, setting, number):
    text = (checkpoint / file).read_text()
    content = json.loads(text)
    content[setting] = "HERE"
    (checkpoint / file).write_text(json.dumps(content).replace('"HERE"', number))
    refuse(checkpoint, setting)


def test_a_scheduler_without_a_variance_type_is_the_usual_one(checkpoint):
    text = json.loads((checkpoint / SCHEDULER).read_text()) | {"variance_type": None}
    (checkpoint / SCHEDULER).write_text(json.dumps(text))
    assert DDPMLabPipeline.from_checkpoint(checkpoint).num_train_timesteps == 1000


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(checkpoint, value):
    weights = load_file(checkpoint / WEIGHTS)
    weights["conv_in.weight"][0, 0, 0, 0] = value
    save_file(weights, checkpoint / WEIGHTS, metadata={"format": "pt"})
    refuse(checkpoint, "not all of its weights are finite numbers: conv_in.weight")


def test_only_regular_files_are_read(checkpoint, tmp_path):
    for file in ("model_index.json", UNET, SCHEDULER):
        kept = (checkpoint / file).read_bytes()
        for target in ("/dev/zero", str(tmp_path)):
            (checkpoint / file).unlink()
            (checkpoint / file).symlink_to(target)
            refuse(checkpoint, f"{file} is no ordinary file")
        (checkpoint / file).unlink()
        os.mkfifo(checkpoint / file)
        refuse(checkpoint, f"{file} is no ordinary file")  # nobody will ever write into it
        (checkpoint / file).unlink()
        (checkpoint / file).symlink_to(file.split("/")[-1])  # to itself
        refuse(checkpoint, "cannot be loaded")
        (checkpoint / file).unlink()
        (checkpoint / file).write_bytes(kept)
    load_checkpoint(checkpoint)
    (checkpoint / WEIGHTS).unlink()
    os.mkfifo(checkpoint / WEIGHTS)
    refuse(checkpoint, "no safetensors weights")


def test_what_lies_beside_the_files_that_count_changes_no_hash_and_is_not_read(checkpoint):
    before = checkpoint_sha256(checkpoint)
    (checkpoint / "scheduler" / "huge.bin").touch()
    os.truncate(checkpoint / "scheduler" / "huge.bin", 10**12)
    os.mkfifo(checkpoint / "unet" / "pipe.safetensors")
    assert checkpoint_sha256(checkpoint) == before


def test_weights_beyond_the_limit_are_not_read(checkpoint):
    os.truncate(checkpoint / WEIGHTS, 3 * 2**30)  # sparse: it takes no room
    refuse(checkpoint, "its weights take 3,072 MB, and the limit is 2,048 MB")
    with pytest.raises(OSError, match="limit"):
        checkpoint_sha256(checkpoint)


def test_the_memory_of_a_call_is_of_the_right_size():
    """Of the networks that this program ships and of a large one of others; within a factor of what was measured."""
    of_faces = {"layers_per_block": 2, "attention_head_dim": 8, "add_attention": True}
    small = call_bytes(of_faces | {"down_block_types": ["DownBlock2D"] * 3}, 16, 16, (64, 128, 128))
    celebahq = dict(
        sample_size=256, block_out_channels=[128, 128, 256, 256, 512, 512], layers_per_block=2, attention_head_dim=None,
        down_block_types=["DownBlock2D"] * 4 + ["AttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "AttnUpBlock2D"] + ["UpBlock2D"] * 4,
    )  # fmt: skip
    assert 500_000 < small < 5_000_000
    check_unet_config(celebahq, "celebahq")


# Folders as others save them -----------------------------------------------------------------------------------------


def make(folder, size=16, **more):
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=size, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(16, 32),
        norm_num_groups=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"), attention_head_dim=8,
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    DDPMPipeline(unet.half() if "variant" in more else unet, DDPMScheduler()).save_pretrained(folder, **more)
    return folder


def drawn(folder, **fields):
    return DDPMLabPipeline.from_checkpoint(folder)(
        num_inference_steps=3, num_images=2, output_type="pt", **fields
    ).images


def same(a, b):
    return torch.equal(torch.as_tensor(a), torch.as_tensor(b))


def test_a_flat_folder_is_loaded(tmp_path):
    usual, flat = make(tmp_path / "usual"), make(tmp_path / "flat")
    for file in (*(flat / "unet").iterdir(), *(flat / "scheduler").iterdir()):
        file.rename(flat / file.name)
    (flat / "unet").rmdir()
    (flat / "scheduler").rmdir()
    assert same(drawn(flat), drawn(usual))
    sketch_checkpoint(flat)
    assert len(checkpoint_sha256(flat)) == 64


@pytest.mark.parametrize("variant", ["fp16", "bf16"])
def test_weights_in_half_precision_are_loaded_and_computed_in_float32(tmp_path, variant):
    folder = make(tmp_path / "half", variant=variant)
    usual = make(tmp_path / "usual")
    weights = load_file(folder / "unet" / f"diffusion_pytorch_model.{variant}.safetensors")
    save_file({name: weight.float() for name, weight in weights.items()}, usual / WEIGHTS, metadata={"format": "pt"})
    unet, _ = load_checkpoint(folder)
    assert {weight.dtype for weight in unet.parameters()} == {torch.float32}
    assert same(drawn(folder), drawn(usual))
    assert checkpoint_sha256(folder) != checkpoint_sha256(usual)


def test_what_diffusers_once_called_predict_epsilon_is_obeyed(tmp_path):
    folder, other = make(tmp_path / "old"), make(tmp_path / "new")
    edit(folder, SCHEDULER, prediction_type=None, predict_epsilon=False)
    edit(other, SCHEDULER, prediction_type="sample")
    assert same(drawn(folder), drawn(other))
    assert not same(drawn(folder), drawn(make(tmp_path / "eps")))
    edit(folder, SCHEDULER, predict_epsilon=True)
    assert same(drawn(folder), drawn(tmp_path / "eps"))


def test_a_list_of_two_equal_sides_is_a_square(tmp_path):
    folder = make(tmp_path / "listed")
    edit(folder, UNET, sample_size=[16, 16])
    assert DDPMLabPipeline.from_checkpoint(folder).image_shape == (3, 16, 16)
    assert same(drawn(folder), drawn(make(tmp_path / "usual")))


def test_rectangles_are_drawn_as_the_stock_pipeline_draws_them(tmp_path):
    folder = make(tmp_path / "rect", size=(16, 24))
    pipeline = DDPMLabPipeline.from_checkpoint(folder)
    assert pipeline.image_shape == (3, 16, 24)
    x = x_T = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(3))
    settings = dict(num_inference_steps=5, sampler="ddim", timestep_spacing="trailing", num_images=2, output_type="pt")
    ours = pipeline(initial_noise=x_T, **settings).images
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="trailing")
    scheduler.set_timesteps(5)
    with torch.no_grad():
        for t in scheduler.timesteps:
            # With its default, False, diffusers mixes the clipped guess with noise that it was not made with
            x = scheduler.step(pipeline.unet(x, t).sample, t, x, use_clipped_model_output=True).prev_sample
    stock = (x / 2 + 0.5).clamp(0, 1)
    assert (torch.as_tensor(ours) - stock).abs().max() < 1e-4


def test_a_folder_is_known_by_all_that_decides_its_pictures(tmp_path):
    folder = make(tmp_path / "one")
    seen = {checkpoint_sha256(folder)}
    edit(folder, SCHEDULER, beta_end=0.01)
    seen.add(checkpoint_sha256(folder))
    weights = load_file(folder / WEIGHTS)
    weights["conv_in.bias"][0] += 1
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    seen.add(checkpoint_sha256(folder))
    shutil.copytree(folder, tmp_path / "two")
    assert len(seen | {checkpoint_sha256(tmp_path / "two")}) == 3
