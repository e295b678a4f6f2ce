"""The whole evaluation: its output, the results it keeps, and samples that are drawn once."""

import json
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from diffusion.metrics.distances import distance
from diffusion.metrics.texture import texture
from diffusion.pipeline import DDPMLabPipeline
from diffusion.pixels import to_uint8
from diffusion.settings import SamplingSettings
from tests.training.test_processes import LAUNCH, NO_MORE
from tests.training.tiny import command, run, tiny_config
from training.evaluate import Counts, Evaluation, main, merge, protocols, what_cannot_be_measured
from training.export import export_run
from training.samples import draw_samples, drawn_classes, samples_folder
from training.start import prepare
from training.states import checkpoint_folder
from training.train import main as train_main

COUNTS = Counts(headline=60, small=40, quick=40, guided=30, to_learn=512, shard=16)


def card_of(checkpoint) -> str:
    return (checkpoint / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def checkpoint(tmp_path):
    training, run = prepare(tiny_config(tmp_path, num_train_timesteps=60, beta_end=0.3))
    for _ in training.steps():
        pass
    return export_run(training, run)


def test_samples_are_those_of_the_pipeline_and_independent_of_shards(checkpoint, tmp_path):
    settings = SamplingSettings(num_inference_steps=3, sampler="ddpm", num_images=20, class_label=3)
    found = draw_samples(checkpoint, settings, tmp_path / "cache", shard=16)
    for step in DDPMLabPipeline.from_checkpoint(checkpoint).steps(settings):
        last = step.x_s
    assert np.abs(found.astype(int) - to_uint8(last).astype(int)).max() <= 1


def test_unrounded_samples_are_the_last_states(checkpoint, tmp_path):
    settings = SamplingSettings(num_inference_steps=3, sampler="unipc", num_images=20, class_label=3, clip_sample=False)
    found = draw_samples(checkpoint, settings, tmp_path / "cache", unrounded=True, shard=16)
    for step in DDPMLabPipeline.from_checkpoint(checkpoint).steps(settings):
        last = step.x_s
    assert found.dtype == np.float32 and np.abs(found).max() > 1
    np.testing.assert_allclose(found, last, atol=1e-4 * np.abs(found).max())
    pictures = draw_samples(checkpoint, settings, tmp_path / "cache")  # beside them, in a folder of its own
    assert np.abs(pictures.astype(int) - to_uint8(last).astype(int)).max() <= 1


def test_samples_are_drawn_once_and_a_stopped_run_goes_on(checkpoint, tmp_path):
    cache = tmp_path / "cache"
    settings = SamplingSettings(num_inference_steps=2, num_images=40)

    def draw(settings: SamplingSettings) -> np.ndarray:
        return draw_samples(checkpoint, settings, cache, classes_seed=0, shard=16)

    whole = draw(settings)
    files = sorted(cache.rglob("*.npy"))
    assert len(files) == 3
    files[1].unlink()
    kept = {file: file.stat().st_mtime_ns for file in (files[0], files[2])}
    assert (draw(settings) == whole).all()
    assert files[1].exists() and {file: file.stat().st_mtime_ns for file in kept} == kept
    assert (draw(settings.replace(num_images=48))[:40] == whole).all()
    new = sorted(set(cache.rglob("*.npy")) - set(files))
    assert [file.stem for file in new] == ["000032-000048"]
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert not (draw_samples(checkpoint, settings, cache, classes_seed=1) == whole).all()


def test_all_steps_are_drawn_once_whatever_the_spacing(checkpoint, tmp_path):
    few = SamplingSettings(num_inference_steps=2, num_images=3)
    every = few.replace(num_inference_steps=DDPMLabPipeline.from_checkpoint(checkpoint).num_train_timesteps)
    for settings, folders in ((few, 2), (every, 3)):
        for spacing in ("even", "trailing"):
            draw_samples(checkpoint, settings.replace(timestep_spacing=spacing), tmp_path / "cache")
        assert len(list((tmp_path / "cache").iterdir())) == folders


def test_another_network_is_not_given_the_samples_of_this_one(checkpoint, tmp_path):
    settings = SamplingSettings(num_inference_steps=2, num_images=16)
    before = draw_samples(checkpoint, settings, tmp_path / "cache")
    file = next((checkpoint / "unet").glob("*.safetensors"))
    save_file({name: weight * 1.1 for name, weight in load_file(file).items()}, file, metadata={"format": "pt"})
    assert not (draw_samples(checkpoint, settings, tmp_path / "cache") == before).all()


def test_classes_are_uniform_and_more_samples_begin_alike():
    classes = drawn_classes(10, 5000, seed=0)
    assert drawn_classes(10, 300, seed=0) == classes[:300] and drawn_classes(0, 10, seed=0) is None
    assert np.bincount(classes).min() > 400


def test_the_protocols():
    assert ("ddim", 50, 10_000) in protocols(1000, quick=False) and ("ddpm", 1000, 2048) in protocols(1000, quick=False)
    assert protocols(1000, quick=True) == [("ddim", 50, 1000)]
    assert protocols(20, quick=True) == [("ddim", 20, 1000)]


def test_everything_at_once_goes_into_json_and_card(checkpoint, tmp_path, capsys):
    assert main([str(checkpoint), "--cache", str(tmp_path / "cache")], COUNTS) == 0
    found = json.loads((checkpoint / "evaluation.json").read_text())
    assert [(row["sampler"], row["steps"], row["n"]) for row in found["fid"]] == [
        ("ddim", 50, 40), ("ddim", 50, 60), ("ddpm", 60, 40),
    ]  # fmt: skip
    assert {row["timestep_spacing"] for row in found["fid"]} == {found["accuracy"]["timestep_spacing"]} == {
        SamplingSettings().timestep_spacing
    }  # fmt: skip
    evaluation = Evaluation(checkpoint, tmp_path / "cache", counts=COUNTS)
    space = evaluation.space
    again = distance(space, space.features(evaluation.samples("ddim", 50, 60)))
    assert found["fid"][1]["fid"] == pytest.approx(again.fid)
    assert found["accuracy"]["real"] == space.record["accuracy"]
    seen = space.classes(evaluation.samples("ddim", 50, 40))
    assert found["accuracy"]["samples"][0]["all"] == pytest.approx(
        (seen == torch.tensor(drawn_classes(10, 40, 0))).double().mean().item()
    )
    drawn = evaluation.samples("ddim", 50, 40)
    assert found["texture"]["samples"] == asdict(texture(drawn)) and found["texture"]["n"] == 40
    assert found["texture"]["fid"] > 5 * found["texture"]["floor_fid"]  # of a network that hardly trained
    assert f"grain: {found['texture']['fid']:.4f}" in card_of(checkpoint)
    assert found["neighbours"]["training_pictures"] == 512 and found["neighbours"]["identical"] == 0
    assert (checkpoint / "neighbours.png").exists()
    card = card_of(checkpoint)
    table = capsys.readouterr().out
    row = next(line for line in table.splitlines() if line.startswith("| DDPM | 60 | 40 |"))
    assert card.count(row) == 1 and "Not evaluated yet" not in card and str(tmp_path) not in card
    assert row.endswith(" | `trailing` |") and "(DDIM-50, `trailing` timesteps)" in card
    assert "| β |" in card and "| guidance | N |" in card


def test_what_was_measured_before_a_stop_is_kept(checkpoint, tmp_path):
    """The last protocol takes hours: those before it are in the JSON by then."""
    cache = tmp_path / "cache"
    evaluation = Evaluation(checkpoint, cache, counts=COUNTS)
    settings = evaluation.settings("ddpm", evaluation.pipeline.num_train_timesteps, COUNTS.small)
    folder = samples_folder(checkpoint, evaluation.pipeline, settings, cache, classes_seed=evaluation.seed)
    cache.mkdir(exist_ok=True)
    folder.touch()  # a file in the place of the folder that the last protocol needs
    assert main([str(checkpoint), "--only", "fid", "--cache", str(cache)], COUNTS) == 1
    rows = json.loads((checkpoint / "evaluation.json").read_text())["fid"]
    assert [(row["sampler"], row["n"]) for row in rows] == [("ddim", 40), ("ddim", 60)]


def test_parts_are_merged_and_results_of_other_weights_are_forgotten(checkpoint, tmp_path):
    cache = ["--cache", str(tmp_path / "cache")]
    assert main([str(checkpoint), "--quick", "--only", "fid", *cache], COUNTS) == 0
    assert main([str(checkpoint), "--quick", "--only", "bits", *cache], COUNTS) == 0
    found = json.loads((checkpoint / "evaluation.json").read_text())
    assert len(found["fid"]) == 1 and found["bits"]["pictures"] == 64
    assert main([str(checkpoint), "--only", "fid", *cache], COUNTS) == 0
    assert len(json.loads((checkpoint / "evaluation.json").read_text())["fid"]) == 3  # the quick one is one of these
    file = next((checkpoint / "unet").glob("*.safetensors"))
    save_file({name: weight * 1.1 for name, weight in load_file(file).items()}, file, metadata={"format": "pt"})
    assert "bits" not in merge(checkpoint, {})


def test_two_processes_draw_the_same_samples(checkpoint, tmp_path):
    """Each takes every second shard; the pictures are those of one process, within rounding."""
    for folder, launcher in (("two", (*LAUNCH, *NO_MORE)), ("one", ())):
        module = ("-m", "tests.training.draw_shards", str(checkpoint), str(tmp_path / folder))
        done = run([sys.executable, *launcher, *module])
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (np.load(tmp_path / folder / "all-0.npy").astype(int) for folder in ("one", "two"))
    assert (np.load(tmp_path / "two" / "all-1.npy") == two).all()
    assert np.abs(one - two).max() <= 1


def test_a_folder_that_is_no_checkpoint_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "is no checkpoint folder" in capsys.readouterr().err


@pytest.mark.parametrize("pictures, told", [(2, "FID and KID are left out"), (20, "KID and its floor")])
def test_a_tiny_set_is_measured_as_far_as_it_goes(tmp_path, capsys, pictures, told):
    for number in range(pictures):
        path = tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    config = tiny_config(
        tmp_path, data=str(tmp_path / "pictures"), image_size=8, steps=2, batch_size=8, num_train_timesteps=20
    )
    assert train_main(command(config)[3:]) == 0
    folder = checkpoint_folder(config)
    counts = Counts(headline=24, small=20, quick=20, guided=16, to_learn=64)
    capsys.readouterr()
    assert main([str(folder), "--cache", str(tmp_path / "cache"), "--threads", "1"], counts) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"fid: {told}")  # before anything is drawn
    found = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert {"texture", "accuracy", "neighbours"} <= set(found)
    if pictures == 2:
        assert "bits: bits per dimension are left out" in out and not {"fid", "bits"} & set(found)
        return
    assert all(row["fid"] > 0 and row["kid"] is None and row["floor_kid"] is None for row in found["fid"])
    assert found["bits"]["pictures"] == 2 and found["bits"]["evaluations"] == 21  # all T steps, L_0 twice
    assert "| – |" in out and "– |" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_part_that_fails_leaves_the_others(checkpoint, tmp_path, capsys, monkeypatch):
    def broken(self):
        raise ValueError("something is wrong")
        yield

    monkeypatch.setattr(Evaluation, "bits", broken)
    arguments = [str(checkpoint), "--cache", str(tmp_path / "cache"), "--threads", "1", "--only", "bits", "texture"]
    assert main(arguments, Counts(headline=24, small=20, quick=20, guided=16, to_learn=64)) == 1
    captured = capsys.readouterr()
    assert "evaluate: bits: something is wrong" in captured.err and "Fine texture of 20 samples" in captured.out


@pytest.mark.parametrize("real, held_out, parts", [(1, 1, {"fid", "bits"}), (5, 1, {"fid", "bits"}), (18, 2, {"fid"}),
                                                   (100, 19, {"fid"}), (100, 20, set())])  # fmt: skip
def test_what_so_few_pictures_cannot_give_is_known_beforehand(real, held_out, parts):
    assert set(what_cannot_be_measured(real, held_out)) == parts
