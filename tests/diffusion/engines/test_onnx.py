"""ONNX Runtime agrees with the network on every shipped checkpoint; and the cases in which it is unavailable."""

import copy
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diffusion.checkpoint import WEIGHTS, CheckpointError
from diffusion.denoisers import NetworkDenoiser
from diffusion.engines import onnx
from diffusion.engines.base import EngineError, TorchEngine
from diffusion.engines.onnx import KEPT, OnnxEngine, onnx_engine
from diffusion.pipeline import DDPMLabPipeline
from diffusion.schedule import NoiseSchedule
from diffusion.settings import SamplingSettings
from tests.networks import make_unet

CHECKPOINTS = sorted(path for path in (Path(__file__).parents[3] / "checkpoints").iterdir() if path.is_dir())
LINEAR = NoiseSchedule.named()
LEVEL = 1 / 255  # of pixels in [0, 1]


@pytest.fixture(scope="module", params=CHECKPOINTS, ids=lambda path: path.name)
def shipped(request):
    """A shipped checkpoint, computed by torch."""
    pipeline = DDPMLabPipeline.from_checkpoint(request.param)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "engines"


def replace(folder):
    """Put other weights into a checkpoint's folder."""
    scheduler = DDPMLabPipeline.from_checkpoint(folder).scheduler
    shutil.rmtree(folder / "unet")
    DDPMLabPipeline(make_unet(0, 1, 8, (8, 16), 1), scheduler).save_pretrained(folder)


def labels_of(pipeline, count):
    return tuple(k % pipeline.classes for k in range(count)) if pipeline.classes else None


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_pictures_are_the_eager_ones_within_one_level(shipped, sampler, steps):
    fast = shipped.fast()
    assert fast.engine.name == "onnxruntime"
    settings = SamplingSettings(
        sampler=sampler, num_inference_steps=steps, num_images=3, class_label=labels_of(shipped, 3)
    )
    eager, quick = (pipeline(settings, output_type="pt").images for pipeline in (shipped, fast))
    assert (eager - quick).abs().max() < LEVEL


def test_pictures_of_guidance_and_other_betas_too(shipped):
    guided = dict(class_label=0, guidance_scale=2.5) if shipped.classes else {}
    settings = SamplingSettings(num_inference_steps=20, num_images=2, beta_end=0.03, **guided)  # told fractions of t
    eager, quick = (pipeline(settings, output_type="pt").images for pipeline in (shipped, shipped.fast()))
    assert (eager - quick).abs().max() < LEVEL


@pytest.mark.slow  # the error of 1,000 steps adds up in no shorter run
def test_pictures_of_all_steps_too(shipped):
    settings = SamplingSettings(num_inference_steps=1000, class_label=labels_of(shipped, 1))
    eager, quick = (pipeline(settings, output_type="pt").images for pipeline in (shipped, shipped.fast()))
    assert (eager - quick).abs().max() < LEVEL


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("batch", [1, 2, 5, 16])
def test_every_batch_and_every_timestep(classes, batch, cache):
    unet = make_unet(classes, 1, 8, (8, 16), 1)
    engine = onnx_engine(unet, cache)
    x_t = torch.randn(batch, 1, 8, 8)
    t = torch.rand(batch) * 999
    labels = torch.arange(batch) % (classes + 1) if classes else None
    torch.testing.assert_close(engine(x_t, t, labels), TorchEngine(unet)(x_t, t, labels), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(engine(x_t, t, labels), engine(x_t, t / 2, labels), atol=1e-3)


def test_it_is_kept_by_its_weights(cache):
    unet = make_unet(0, 1, 8, (8, 16), 1)
    first = onnx_engine(unet, cache)
    (kept,) = cache.iterdir()
    stamp = kept.stat().st_mtime_ns
    onnx_engine(unet, cache)
    assert kept.stat().st_mtime_ns == stamp and list(cache.iterdir()) == [kept]
    other = copy.deepcopy(unet)
    with torch.no_grad():
        other.conv_out.bias += 1
    x_t, t = torch.randn(1, 1, 8, 8), torch.tensor([10.0])
    torch.testing.assert_close(onnx_engine(other, cache)(x_t, t), first(x_t, t) + 1, atol=1e-5, rtol=0)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(("part", "widths"), [("weights", (8, 16)), ("model.onnx", (16, 32))])
def test_a_file_of_another_network_or_of_nonsense_is_not_believed(part, widths, cache):
    unet, other = make_unet(0, 1, 8, (8, 16), 1), make_unet(0, 1, 8, widths, 1)
    with torch.no_grad():
        for weight in other.parameters():
            weight += 0.01
    onnx_engine(unet, cache)
    (folder,) = cache.iterdir()
    onnx_engine(other, cache)
    (wrong,) = set(cache.iterdir()) - {folder}
    good = (folder / part).read_bytes()
    assert good != (wrong / part).read_bytes()
    x_t, t = torch.randn(1, 1, 8, 8), torch.tensor([10.0])
    for content in ((wrong / part).read_bytes(), b"nonsense", b"", good[: len(good) // 2], None):
        (folder / part).unlink()
        if content is not None:
            (folder / part).write_bytes(content)
        torch.testing.assert_close(onnx_engine(unet, cache)(x_t, t), TorchEngine(unet)(x_t, t), atol=1e-5, rtol=1e-4)
        assert (folder / part).read_bytes() == good  # made again


def test_only_the_newest_models_are_kept_and_nothing_of_others_goes(cache):
    for number in range(KEPT + 5):
        (cache / f"{number:032x}-{0:032x}").mkdir(parents=True)
    for number in range(KEPT + 5):
        (cache / f"pictures {number}").mkdir()
    onnx_engine(make_unet(0, 1, 8, (8, 16), 1), cache)
    kept = [path for path in cache.iterdir() if not path.name.startswith("pictures")]
    assert len(kept) == KEPT and any(list(path.iterdir()) for path in kept)
    assert len(list(cache.iterdir())) == KEPT + KEPT + 5  # and nothing half made


def test_a_home_of_somebody_else_is_no_hindrance(tmp_path, monkeypatch):
    there = str(tmp_path)

    def guarded(honest):
        def call(path, *args, **kwargs):
            if str(path).startswith(there):
                raise PermissionError(13, "Permission denied")
            return honest(path, *args, **kwargs)

        return call

    for name in ("glob", "mkdir", "iterdir"):
        monkeypatch.setattr(Path, name, guarded(getattr(Path, name)))
    assert onnx_engine(make_unet(0, 1, 8, (8, 16), 1), tmp_path / "engines").name == "onnxruntime"


def test_a_cache_that_cannot_be_written_is_no_hindrance(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert onnx_engine(make_unet(0, 1, 8, (8, 16), 1), tmp_path / "file" / "engines").name == "onnxruntime"


@pytest.mark.parametrize("package", ["onnxruntime", "onnx"])
def test_without_the_packages_the_network_computes_itself(package, monkeypatch, cache):
    monkeypatch.setitem(sys.modules, package, None)
    unet = make_unet(0, 1, 8, (8, 16), 1)
    with pytest.raises(EngineError, match=package):
        onnx_engine(unet, cache)
    assert not list(cache.iterdir())


@pytest.mark.parametrize("change", [lambda unet: unet.to(torch.bfloat16), lambda unet: unet.to("meta")])
def test_other_precisions_and_devices_have_none(change):
    with pytest.raises(EngineError, match="float32 network on the CPU"):
        onnx_engine(change(make_unet(0, 1, 8, (8, 16), 1)))


def test_a_model_that_answers_otherwise_is_refused(monkeypatch, cache):
    honest = OnnxEngine.__call__
    monkeypatch.setattr(OnnxEngine, "__call__", lambda self, *inputs: honest(self, *inputs) + 2e-4)
    with pytest.raises(EngineError, match="differs from the network"):
        onnx_engine(make_unet(0, 1, 8, (8, 16), 1), cache)


def test_a_pipeline_on_it_is_another_one_and_says_so(shipped):
    fast = shipped.fast()
    settings = SamplingSettings(class_label=labels_of(shipped, 1))
    names = [p.denoiser(p.plan(settings)).description.engine for p in (shipped, fast, fast.with_engine(None))]
    assert names == ["torch", "onnxruntime", "torch"]
    assert fast.checkpoint == shipped.checkpoint and fast.unet is shipped.unet and fast.fast() is fast


def test_weights_that_were_given_back_are_read_anew(shipped, tmp_path):
    assert shipped.without_weights() is shipped  # the network computes: it needs them
    light = shipped.fast().without_weights()
    assert light.unet.device.type == "meta" and shipped.unet.device.type == "cpu" and light.device == shipped.device
    settings = SamplingSettings(num_inference_steps=3, class_label=labels_of(shipped, 1))
    pictures = [p(settings, output_type="pt").images for p in (shipped.fast(), light, light.with_weights())]
    assert torch.equal(pictures[0], pictures[1]) and torch.equal(pictures[1], pictures[2])
    eager = light.with_engine(None)
    assert torch.equal(eager(settings, output_type="pt").images, shipped(settings, output_type="pt").images)
    light.save_pretrained(tmp_path)
    saved = DDPMLabPipeline.from_pretrained(tmp_path).unet.state_dict()
    assert all(torch.equal(saved[name], weight) for name, weight in shipped.unet.state_dict().items())


def test_weights_of_a_checkpoint_that_was_replaced_are_not_taken_for_the_old_ones(tmp_path):
    here = shutil.copytree(CHECKPOINTS[0], tmp_path / "here")
    light = DDPMLabPipeline.from_checkpoint(here).fast().without_weights()
    light.with_weights()
    replace(here)
    with pytest.raises(CheckpointError, match="here: was replaced"):
        light.with_weights()


def test_a_kept_engine_needs_no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "engines"))
    folder = shutil.copytree(CHECKPOINTS[0], tmp_path / "here")
    assert DDPMLabPipeline.from_kept_engine(folder) is None  # nobody made it yet
    made = DDPMLabPipeline.from_checkpoint(folder).fast()
    kept = DDPMLabPipeline.from_kept_engine(folder)
    assert kept.unet.device.type == "meta" and kept.checkpoint == "here"
    settings = SamplingSettings(num_inference_steps=3, class_label=labels_of(kept, 1))
    assert torch.equal(kept(settings, output_type="pt").images, made(settings, output_type="pt").images)
    replace(folder)
    assert DDPMLabPipeline.from_kept_engine(folder) is None  # of other weights
    for old in ("old.safetensors", "zzz.safetensors"):  # kept beside the new ones, where nobody loads them
        save_file(made.unet.state_dict(), folder / "unet" / old)
    assert DDPMLabPipeline.from_kept_engine(folder) is None
    (folder / "unet" / WEIGHTS).write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="unet"):
        DDPMLabPipeline.from_kept_engine(folder)


def test_a_pipeline_that_was_moved_leaves_it_behind(cache):
    class Elsewhere:
        name, device = "elsewhere", torch.device("meta")

    pipeline = DDPMLabPipeline.from_checkpoint(CHECKPOINTS[0]).with_engine(Elsewhere())
    assert not pipeline.is_fast and pipeline.without_weights() is pipeline
    plan = pipeline.plan(SamplingSettings())
    assert pipeline.denoiser(plan).description.engine == "torch"


def test_guidance_is_one_call_and_none_where_the_scale_is_1():
    pipeline = DDPMLabPipeline.from_checkpoint(next(path for path in CHECKPOINTS if path.name == "pixel-faces"))
    calls = []

    class Counting(TorchEngine):
        def __call__(self, x_t, t, class_labels=None):
            calls.append(len(x_t))
            return super().__call__(x_t, t, class_labels)

    counting = pipeline.with_engine(Counting(pipeline.unet))
    for scale, pictures in ((1.0, 2), (0.0, 2), (3.0, 4)):
        calls.clear()
        counting(num_inference_steps=3, num_images=2, class_label=1, guidance_scale=scale)
        assert calls == [pictures] * 3


@pytest.mark.parametrize("scale", [0, 1, 2.5])
def test_one_label_stands_for_all_pictures_however_many(scale, cache):
    unet = make_unet(3, 1, 8, (8, 16), 1)
    x_t = torch.randn(200, 1, 8, 8)  # more than an engine takes at once
    answers = [
        NetworkDenoiser(unet, LINEAR, "epsilon", torch.full((count,), 2), scale, engine).predict(x_t, 300).eps_hat
        for engine in (TorchEngine(unet), onnx_engine(unet, cache))
        for count in (1, 200)
    ]
    for answer in answers:
        torch.testing.assert_close(answer, answers[0], atol=1e-5, rtol=1e-4)


def test_a_network_with_dropout_has_an_engine_and_is_left_in_eval_mode(cache):
    unet = make_unet(0, 1, 8, (8, 16), 1)
    for module in unet.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    assert onnx_engine(unet, cache).name == "onnxruntime"
    assert not unet.training


def test_what_a_killed_maker_left_is_cleared_and_who_is_making_is_left_alone(unet, tmp_path):
    killed, busy = tmp_path / f"{onnx.MAKING}killed", tmp_path / f"{onnx.MAKING}busy"
    for folder in (killed, busy):
        (folder / "engine").mkdir(parents=True)
    long_ago = time.time() - 2 * onnx.ABANDONED
    os.utime(killed, (long_ago, long_ago))
    onnx_engine(unet, tmp_path)
    assert not killed.exists() and busy.exists()


def test_a_user_without_a_home_has_a_cache_of_this_process(monkeypatch):
    for name in ("DDPM_LAB_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])  # as in a container: no entry for this user
    folder = onnx.default_cache()
    assert folder.is_dir() and folder == onnx.default_cache()


def test_a_model_that_another_user_put_there_is_not_run(unet, tmp_path, monkeypatch):
    key = onnx._key(unet, sorted(unet.state_dict().items()))
    onnx_engine(unet, tmp_path)
    (model,) = (path for path in tmp_path.iterdir() if onnx.PLACE.fullmatch(path.name))
    assert onnx._is_ours(model) and onnx._kept(key, tmp_path)
    monkeypatch.setattr(onnx, "_is_ours", lambda folder: folder != model)
    assert onnx._kept(key, tmp_path) is None
