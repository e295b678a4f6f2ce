"""The export of a run is a checkpoint that plain diffusers can use."""

import json

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from huggingface_hub import ModelCard

from tests.training.tiny import command, tiny_config
from training import export
from training.data import DataConfig, Pictures, load_data
from training.export import export_run, save_reference
from training.start import prepare
from training.states import RunError, check_checkpoint, checkpoint_folder, run_folder, save_state
from training.train import main


def exported(tmp_path, **fields):
    training, run = prepare(tiny_config(tmp_path, **fields))
    for _ in training.steps():
        pass
    return training, export_run(training, run)


def test_stock_diffusers_loads_the_ema_weights(tmp_path):
    training, folder = exported(tmp_path)
    unet = UNet2DModel.from_pretrained(folder, subfolder="unet", use_safetensors=True)
    assert all(torch.equal(a, b) for a, b in zip(unet.parameters(), training.ema.shadow_params, strict=True))
    assert unet.config.num_class_embeds == 11
    scheduler = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
    assert (scheduler.config.beta_start, scheduler.config.beta_end) == (1e-4, 0.02)
    assert scheduler.config.prediction_type == "epsilon"


def test_the_stock_pipeline_samples_an_unconditional_checkpoint(tmp_path):
    _, folder = exported(tmp_path, class_conditional=False)
    pipeline = DDPMPipeline.from_pretrained(folder, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline(num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
    assert image.size == (16, 16) and image.mode == "L"


def test_the_usage_on_the_card_of_a_conditional_checkpoint_runs_as_it_stands(tmp_path):
    _, folder = exported(tmp_path, num_train_timesteps=10, beta_end=0.9)
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    space = {}
    exec(code.replace("path/of/this/folder", str(folder)), space)
    assert space["x"].shape == (4, 1, 16, 16) and bool(torch.isfinite(space["x"]).all())


def test_the_folder_holds_what_was_promised(tmp_path):
    training, folder = exported(tmp_path)
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names >= {
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "scheduler/scheduler_config.json",
        "training.json",
        "samples.png",
        "README.md",
        "reference/train.npz",
        "reference/test.npz",
        "reference/reference.json",
    }
    record = json.loads((folder / "training.json").read_text())
    assert record["steps"] == 20 and record["images"] == 320 and record["weights"] == "EMA"
    assert record["data"]["sha256"] == training.data.sha256()
    assert record["settings"]["block_out_channels"] == [8, 16]
    assert {"torch", "diffusers"} <= set(record["versions"])
    assert str(tmp_path) not in (folder / "training.json").read_text()


def test_the_card_is_valid_and_names_data_licence_and_recipe(tmp_path):
    _, folder = exported(tmp_path)
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "mit" and card.data.library_name == "diffusers"
    assert card.data.datasets == ["zalando-datasets/fashion_mnist"]
    for words in ("Licence of the data: MIT", "512 training and 128 test", "20 steps of 16", "min_snr (gamma 5)"):
        assert words in card.text
    assert "$" not in card.text.replace("$\\", "")


def test_a_sample_is_fair_to_the_classes_and_always_the_same():
    faces = load_data(DataConfig(data="pixel-faces")).train
    sample = faces.take(4000)
    assert abs(np.bincount(sample.labels) - 500).max() < 4.5 * 500**0.5
    assert sample.sha256() == faces.take(4000).sha256()


def test_reference_pictures_are_real_labelled_and_small(tmp_path):
    data = load_data(DataConfig(data="fashion-mnist"))
    save_reference(data, tmp_path)
    train = Pictures.read(tmp_path / "train.npz")
    assert np.array_equal(train.images, data.train.images) and np.array_equal(train.labels, data.train.labels)


def test_files_stay_below_the_limit_of_a_spaces_git(tmp_path):
    data = load_data(DataConfig(data="fashion-mnist"))
    save_reference(data, tmp_path, most_bytes=50_000)
    assert 30_000 < (tmp_path / "train.npz").stat().st_size <= 50_000
    _, folder = exported(
        tmp_path / "wide", block_out_channels=(128, 192), norm_num_groups=16, image_size=8, steps=1, batch_size=2
    )
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum("safetensors" in path.name for path in files) > 2  # split, with an index
    assert max(path.stat().st_size for path in files) < 10_000_000
    UNet2DModel.from_pretrained(folder, subfolder="unet", use_safetensors=True)


def test_a_run_that_still_goes_on_can_be_exported(tmp_path, capsys):
    config = tiny_config(tmp_path)
    training, run = prepare(config)
    for record in training.steps():
        if record.step == 10:
            save_state(training.accelerator, run_folder(config), 10, 2)
            average = [parameter.clone() for parameter in training.ema.shadow_params]
    assert export.main([str(run_folder(config))]) == 0
    unet = UNet2DModel.from_pretrained(checkpoint_folder(config), subfolder="unet")
    assert all(torch.equal(a, b) for a, b in zip(unet.parameters(), average, strict=True))
    check_checkpoint(config, run.run_id)
    with pytest.raises(RunError, match="of another training"):
        check_checkpoint(config, "another")
    fresh = tiny_config(tmp_path, name="fresh")
    prepare(fresh)
    assert export.main([str(run_folder(fresh))]) == 1
    assert "has no saved state yet" in capsys.readouterr().err
    assert export.main([str(tmp_path)]) == 1
    assert f"RUN_FOLDER: {tmp_path} holds no run.json" in capsys.readouterr().err


def test_fine_tuning_starts_from_the_checkpoints_weights(tmp_path):
    _, folder = exported(tmp_path)
    training, run = prepare(
        tiny_config(tmp_path, name="more", init_from=str(folder), data="mnist", block_out_channels=(16, 32, 64))
    )
    stock = UNet2DModel.from_pretrained(folder, subfolder="unet").state_dict()
    assert all(torch.equal(value, stock[key]) for key, value in training.raw_unet.state_dict().items())
    for _ in training.steps():
        pass
    earlier = json.loads((folder / "training.json").read_text())["hours_with_init_from"]
    for _ in range(2):  # an interim export does not count the earlier hours again
        record = json.loads((export_run(training, run) / "training.json").read_text())
        assert record["hours_with_init_from"] == pytest.approx(record["hours"] + earlier, abs=2e-3)
    assert record["settings"]["block_out_channels"] == [8, 16]  # the checkpoint's, not the ones that were asked for


def test_fine_tuning_on_other_classes_or_sizes_keeps_the_rest(tmp_path):
    _, folder = exported(tmp_path)
    training, _ = prepare(
        tiny_config(tmp_path, name="more", init_from=str(folder), class_conditional=False, image_size=24)
    )
    assert training.raw_unet.config.num_class_embeds is None and training.raw_unet.config.sample_size == 24
    stock = UNet2DModel.from_pretrained(folder, subfolder="unet")
    assert torch.equal(training.raw_unet.conv_in.weight, stock.conv_in.weight)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(color="rgb"), "color: init_from was trained on grey pictures, these are rgb"),
        (dict(prediction_type="sample"), "prediction_type: init_from was trained with 'epsilon'"),
        (dict(beta_end=0.01), "beta_end: init_from was trained with 0.02"),
        (dict(image_size=17), "image_size: must be a multiple of 2"),
        (dict(init_from="nowhere"), "init_from: nowhere: is no checkpoint folder"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_field(tmp_path, capsys, fields, message):
    _, folder = exported(tmp_path, steps=1)
    config = tiny_config(tmp_path, **{"name": "more", "init_from": str(folder)} | fields)
    assert main(command(config)[3:]) == 1
    assert message in capsys.readouterr().err


def test_levels_that_the_pictures_do_not_allow_are_refused(tmp_path, capsys):
    config = tiny_config(tmp_path, image_size=28, block_out_channels=(8, 8, 8, 8))
    assert main(command(config)[3:]) == 1
    assert "block_out_channels: 4 levels need an image_size divisible by 8, got 28" in capsys.readouterr().err
