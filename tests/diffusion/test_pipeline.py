"""Whole runs against diffusers' own pipelines; seeds, labels, starts and stops."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler

from diffusion.pipeline import DDPMLabPipeline
from diffusion.sampling import image_generators
from diffusion.settings import SamplingSettings
from tests.diffusion.conftest import make_pipeline
from tests.networks import make_unet

# A whole run of a random network in float32, pictures in [0, 1]: a tenth of a grey level. Every step differs from
# diffusers' by the rounding of its float32 table, and a run of hundreds of steps passes that on.
TOLERANCE = 4e-4


def pictures(pipeline, **fields):
    return pipeline(output_type="pt", **fields).images


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(("variance", "theirs"), [("posterior", "fixed_small"), ("beta", "fixed_large")])
@pytest.mark.parametrize(("spacing", "S"), [("leading", 7), ("leading", 50), ("leading", 143), ("linspace", 64)])
def test_runs_agree_with_diffusers_ddpm_pipeline(unet, spacing, S, variance, theirs, clip):
    scheduler = DDPMScheduler(timestep_spacing=spacing, variance_type=theirs, clip_sample=clip)
    stock = quiet(DDPMPipeline(unet, scheduler))
    expected = stock(3, generator=image_generators(5, 3), num_inference_steps=S, output_type="np").images
    ours = make_pipeline(unet)(
        sampler="ddpm",
        reverse_variance=variance,
        num_inference_steps=S,
        timestep_spacing=spacing,
        clip_sample=clip,
        seed=5,
        num_images=3,
        output_type="np",
    ).images
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE)
    assert expected.std() > 0.05


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("spacing", "S"), [("leading", 7), ("leading", 50), ("leading", 143), ("trailing", 40)])
def test_runs_agree_with_diffusers_ddim_pipeline(unet, spacing, S, eta):
    stock = quiet(DDIMPipeline(unet, DDIMScheduler(timestep_spacing=spacing)))
    expected = stock(
        3,
        generator=image_generators(5, 3),
        num_inference_steps=S,
        eta=eta,
        use_clipped_model_output=True,
        output_type="np",
    ).images
    ours = make_pipeline(unet)(
        sampler="ddim",
        eta=eta,
        num_inference_steps=S,
        timestep_spacing=spacing,
        seed=5,
        num_images=3,
        output_type="np",
    ).images
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE)


def test_ddim_with_eta_1_and_ddpm_are_the_same_run(unet):
    pipeline = make_pipeline(unet)
    common = {"num_inference_steps": 30, "seed": 1, "num_images": 2, "beta_end": 0.015}
    ddpm, ddim = pictures(pipeline, sampler="ddpm", **common), pictures(pipeline, sampler="ddim", eta=1.0, **common)
    assert torch.equal(ddpm, ddim)
    assert not torch.equal(ddpm, pictures(pipeline, sampler="ddpm", reverse_variance="beta", **common))


@pytest.mark.parametrize("fields", [{"sampler": "ddpm"}, {"sampler": "ddim"}, {"sampler": "ddim", "eta": 0.7}])
def test_pictures_do_not_depend_on_their_batch(unet, fields):
    pipeline = make_pipeline(unet)
    run = SamplingSettings(num_inference_steps=20, seed=100, num_images=7, **fields)
    together = pictures(pipeline, settings=run)
    assert torch.equal(together, pictures(pipeline, settings=run))
    assert (together - pictures(pipeline, settings=run, batch_size=3)).abs().max() <= 1 / 255
    for i in (0, 4, 6):
        alone = pictures(pipeline, settings=run.replace(seed=100 + i, num_images=1))
        assert (together[i] - alone[0]).abs().max() <= 1 / 255
        starts = [next(iter(pipeline.steps(r))).x_t for r in (run, run.replace(seed=100 + i, num_images=1))]
        assert torch.equal(starts[0][i], starts[1][0])  # noise: to the last bit


def noises(pipeline, run):
    """The noise of every step, worked out from the steps themselves."""
    found = []
    schedule = pipeline.plan(run).schedule
    for step in pipeline.steps(run):
        if step.s >= 0:
            ab_t, ab_s = schedule.alphas_cumprod[step.t].item(), schedule.alphas_cumprod[step.s].item()
            var = (1 - ab_t / ab_s) * (1 - ab_s) / (1 - ab_t)
            mean = math.sqrt(ab_s) * step.x_0_hat + math.sqrt(1 - ab_s - var) * step.eps_hat
            found.append((step.x_s - mean) / math.sqrt(var))
    return torch.stack(found)


def test_every_steps_noise_is_the_next_of_its_image(unet):
    run = SamplingSettings(sampler="ddpm", num_inference_steps=12, seed=40, num_images=3)
    found = noises(make_pipeline(unet), run)
    for i in range(3):
        generator = torch.Generator().manual_seed(40 + i)
        draws = torch.stack([torch.randn(1, 8, 8, generator=generator) for _ in range(12)])
        torch.testing.assert_close(found[:, i], draws[1:], atol=1e-3, rtol=0)  # draws[0] is x_T


def test_looking_and_stopping_change_nothing(unet):
    pipeline = make_pipeline(unet)
    run = SamplingSettings(sampler="ddpm", num_inference_steps=15, num_images=2, seed=3)
    steps = list(pipeline.steps(run))
    stopped = list(islice(pipeline.steps(run), 6))  # a run that is left in the middle
    for a, b in zip(steps, stopped, strict=False):
        assert torch.equal(a.x_s, b.x_s)
    assert torch.equal((steps[-1].x_s / 2 + 0.5).clamp(0, 1), pictures(pipeline, settings=run))
    # and goes on as the same run from the x_t at which it was left
    rest = list(pipeline.steps(run.replace(start_step=6), initial_noise=stopped[-1].x_s))
    assert len(rest) == 9
    for a, b in zip(steps[6:], rest, strict=True):
        assert (a.t, a.s) == (b.t, b.s)
        assert torch.equal(a.x_s, b.x_s)


def test_two_runs_at_once_do_not_disturb_each_other(class_unet):
    pipeline = make_pipeline(class_unet)
    first = SamplingSettings(sampler="ddpm", num_inference_steps=8, class_label=0, guidance_scale=3.0)
    second = SamplingSettings(sampler="ddim", num_inference_steps=8, class_label=1, seed=9, beta_end=0.01)
    alone = [list(pipeline.steps(run)) for run in (first, second)]
    for (a, b), expected in zip(
        zip(pipeline.steps(first), pipeline.steps(second), strict=True), zip(*alone, strict=True), strict=True
    ):
        assert torch.equal(a.x_s, expected[0].x_s)
        assert torch.equal(b.x_s, expected[1].x_s)


def test_given_initial_noise_is_where_a_run_starts(unet):
    pipeline, noise = make_pipeline(unet), torch.randn(2, 1, 8, 8)
    first = next(iter(pipeline.steps(num_images=2, initial_noise=noise)))
    assert torch.equal(first.x_t, noise)
    assert first.t == 999
    later = next(iter(pipeline.steps(num_images=2, initial_noise=noise, start_step=25)))
    assert torch.equal(later.x_t, noise)
    assert later.t == pipeline.plan(SamplingSettings()).pairs[25][0]
    parts = pictures(pipeline, num_images=2, initial_noise=noise, num_inference_steps=5, batch_size=1)
    whole = pictures(pipeline, num_images=2, initial_noise=noise, num_inference_steps=5)
    assert (parts - whole).abs().max() < 1e-5
    for wrong in (noise[:1], noise[..., :4], torch.full_like(noise, float("nan"))):
        with pytest.raises(ValueError, match=r"^initial_noise:"):
            pipeline.steps(num_images=2, initial_noise=wrong)
        with pytest.raises(ValueError, match=r"^initial_noise:"):
            pipeline(num_images=2, initial_noise=wrong)


@pytest.mark.parametrize("w", [0.0, 1.0, 2.5])
def test_guidance_in_a_run_is_its_formula_at_every_step(class_unet, w):
    pipeline = make_pipeline(class_unet)
    run = SamplingSettings(num_images=2, class_label=[2, 0], guidance_scale=w, num_inference_steps=5, clip_sample=False)
    for step in pipeline.steps(run):
        with torch.no_grad():
            conditional = class_unet(step.x_t, step.t, class_labels=torch.tensor([2, 0])).sample
            unconditional = class_unet(step.x_t, step.t, class_labels=torch.tensor([3, 3])).sample
        torch.testing.assert_close(
            step.eps_hat, unconditional + w * (conditional - unconditional), atol=1e-4, rtol=1e-4
        )


def test_without_a_class_a_conditional_network_is_told_there_is_none(class_unet):
    pipeline = make_pipeline(class_unet)
    free = pictures(pipeline, num_inference_steps=4)
    assert torch.equal(free, pictures(pipeline, num_inference_steps=4, class_label=1, guidance_scale=0.0))
    assert not torch.equal(free, pictures(pipeline, num_inference_steps=4, class_label=1))


def test_steps_hang_together(unet):
    """x_t = signal x_0_hat + noise eps_hat at every step, clipped or not, and clipping is what it says."""
    pipeline = make_pipeline(unet)
    for clip in (True, False):
        run = SamplingSettings(num_inference_steps=10, clip_sample=clip, beta_end=0.04, num_images=2)
        ab = pipeline.plan(run).schedule.alphas_cumprod
        steps = list(pipeline.steps(run))
        for step in steps:
            a, b = ab[step.t].sqrt().float(), (1 - ab[step.t]).sqrt().float()
            torch.testing.assert_close(a * step.x_0_hat + b * step.eps_hat, step.x_t, atol=1e-5, rtol=1e-5)
        assert (max(step.x_0_hat.abs().max() for step in steps) <= 1) == clip
        assert torch.equal(steps[-1].x_s, steps[-1].x_0_hat)


def test_any_beta_range_gives_pictures(unet):
    pipeline = make_pipeline(unet)
    for beta_start in (1e-6, 1e-4, 1e-2):
        for beta_end in (1e-2, 0.02, 0.3):
            for schedule in ("linear", "scaled_linear", "sigmoid"):
                for conditioning in ("matched", "naive"):
                    images = pictures(
                        pipeline,
                        sampler="ddpm",
                        num_inference_steps=3,
                        beta_schedule=schedule,
                        beta_start=beta_start,
                        beta_end=beta_end,
                        conditioning=conditioning,
                    )
                    assert bool(torch.isfinite(images).all())
    assert bool(torch.isfinite(pictures(pipeline, num_inference_steps=3, beta_schedule="squaredcos_cap_v2")).all())


@pytest.mark.parametrize("prediction_type", ["sample", "v_prediction"])
def test_other_prediction_types_agree_with_diffusers(unet, prediction_type):
    config = {"prediction_type": prediction_type}
    expected = quiet(DDPMPipeline(unet, DDPMScheduler(**config)))(
        2, generator=image_generators(0, 2), num_inference_steps=40, output_type="np"
    ).images
    ours = make_pipeline(unet, **config)(
        sampler="ddpm", num_images=2, num_inference_steps=40, timestep_spacing="leading", output_type="np"
    ).images
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE)


def test_output_types(unet):
    pipeline = make_pipeline(unet)
    run = SamplingSettings(num_images=2, num_inference_steps=2)
    pt, array, pil = (pipeline(run, output_type=kind).images for kind in ("pt", "np", "pil"))
    assert tuple(pt.shape) == (2, 1, 8, 8)
    np.testing.assert_array_equal(array, pt.permute(0, 2, 3, 1).numpy())
    np.testing.assert_array_equal(np.asarray(pil[1]), np.round(array[1, :, :, 0] * 255).astype(np.uint8))
    assert isinstance(pipeline(run, return_dict=False), tuple)
    for wrong in ({"output_type": "jpeg"}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            pipeline(run, **wrong)
    colour = make_pipeline(make_unet(channels=3))(num_inference_steps=1).images[0]
    assert (colour.mode, colour.size) == ("RGB", (8, 8))


def test_errors_come_before_the_first_step(unet):
    pipeline = make_pipeline(unet)
    with pytest.raises(ValueError, match=r"^num_inference_steps: must lie in \[1, 1000\]"):
        pipeline.steps(num_inference_steps=1001)
    with pytest.raises(ValueError, match=r"^eta:"):
        pipeline.steps(SamplingSettings(), eta=2.0)
    with pytest.raises(ValueError, match=r"^settings:"):
        pipeline.steps({"seed": 3})


def test_dropout_is_off(unet):
    noisy = make_unet()
    for module in noisy.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    noisy.train()
    assert torch.equal(
        pictures(make_pipeline(noisy), num_inference_steps=3), pictures(make_pipeline(unet), num_inference_steps=3)
    )


def test_a_pipeline_saves_what_diffusers_loads(unet, tmp_path):
    pipeline = make_pipeline(unet, prediction_type="v_prediction", beta_end=0.015)
    pipeline.save_pretrained(tmp_path / "saved")
    stock = DDPMPipeline.from_pretrained(tmp_path / "saved", use_safetensors=True)
    assert stock.scheduler.config.prediction_type == "v_prediction"
    again = quiet(DDPMLabPipeline.from_checkpoint(tmp_path / "saved"))
    assert again.checkpoint == "saved"
    assert torch.equal(pictures(again, num_inference_steps=3), pictures(pipeline, num_inference_steps=3))
    by_diffusers = quiet(DDPMLabPipeline.from_pretrained(tmp_path / "saved", use_safetensors=True))
    difference = pictures(by_diffusers, num_inference_steps=3) - pictures(pipeline, num_inference_steps=3)
    assert (
        difference.abs().max() < 1e-5
    )  # not to the last bit: diffusers leaves the weights mapped, see load_checkpoint
    with pytest.raises(ValueError, match=r"^checkpoint: these settings are for other, not for saved"):
        again.plan(SamplingSettings(checkpoint="other"))
