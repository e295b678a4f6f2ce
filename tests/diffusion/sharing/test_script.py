"""A run's script, executed in a fresh process without this program, makes the pictures of the run.

One process executes all scripts, each in its own namespace, because importing torch takes seconds.
"""

import subprocess
import sys

import numpy as np
import pytest
from diffusers import DDPMPipeline, DDPMScheduler
from PIL import Image

from diffusion.pipeline import DDPMLabPipeline
from diffusion.pixels import to_uint8
from diffusion.sharing.script import python_script
from tests.app.checkpoints import add_showcase
from tests.networks import make_unet

RUNS = {
    "ddpm": dict(sampler="ddpm", num_inference_steps=7),
    "ddpm, variance beta": dict(sampler="ddpm", num_inference_steps=7, reverse_variance="beta"),
    "ddim": dict(num_inference_steps=5),
    "eta": dict(num_inference_steps=6, eta=0.3),
    "DPM-Solver++": dict(sampler="dpmpp_2m", num_inference_steps=7),
    "UniPC": dict(sampler="unipc", num_inference_steps=7, timestep_spacing="trailing"),
    "UniPC, one step, no clipping": dict(sampler="unipc", num_inference_steps=1, clip_sample=False),
    "DPM-Solver++, a late start": dict(sampler="dpmpp_2m", num_inference_steps=7, start_step=3),
    "DPM-Solver++, less noise, matched": dict(sampler="dpmpp_2m", num_inference_steps=6, beta_end=0.01),
    "UniPC, more noise, matched": dict(sampler="unipc", num_inference_steps=6, beta_end=0.06),
    "Heun": dict(sampler="heun", num_inference_steps=7),
    "Heun, one step, no clipping": dict(sampler="heun", num_inference_steps=1, clip_sample=False),
    "Heun, no clipping, a late start": dict(sampler="heun", num_inference_steps=7, start_step=3, clip_sample=False),
    "Heun, less noise, matched": dict(sampler="heun", num_inference_steps=6, beta_end=0.01),
    "Heun, more noise, matched": dict(sampler="heun", num_inference_steps=6, beta_end=0.06),
    "one step": dict(num_inference_steps=1),
    "even": dict(num_inference_steps=6, timestep_spacing="even"),
    "UniPC, even": dict(sampler="unipc", num_inference_steps=7, timestep_spacing="even"),
    "quadratic": dict(num_inference_steps=6, timestep_spacing="quadratic"),
    "power": dict(num_inference_steps=6, timestep_spacing="power"),
    "power, one step": dict(num_inference_steps=1, timestep_spacing="power"),
    "leading": dict(num_inference_steps=6, timestep_spacing="leading"),
    "linspace": dict(num_inference_steps=6, timestep_spacing="linspace"),
    "trailing": dict(num_inference_steps=61, timestep_spacing="trailing"),
    "no clipping": dict(num_inference_steps=6, clip_sample=False),
    "a late start": dict(sampler="ddpm", num_inference_steps=8, start_step=3),
    "less noise, matched": dict(num_inference_steps=6, beta_end=0.01),
    "more noise, matched": dict(num_inference_steps=6, beta_end=0.06, sampler="ddpm"),
    "naive": dict(num_inference_steps=6, beta_end=0.01, conditioning="naive"),
    "cosine": dict(num_inference_steps=6, beta_schedule="squaredcos_cap_v2"),
    "sigmoid": dict(num_inference_steps=6, beta_schedule="sigmoid", beta_start=1e-4, beta_end=0.03),
    "gaussian start": dict(num_inference_steps=6, beta_end=0.0005, start="gaussian"),
    "gaussian start, late": dict(num_inference_steps=6, sampler="ddpm", start="gaussian", start_step=3),
    "scaled": dict(num_inference_steps=6, beta_schedule="scaled_linear", beta_start=1e-4, beta_end=0.03),
}
WITH_CLASSES = {
    "no class": dict(num_inference_steps=4),
    "a class": dict(num_inference_steps=4, class_label=2),
    "a class each": dict(num_inference_steps=4, class_label=(0, 1, 2)),
    "gaussian start": dict(num_inference_steps=4, class_label=(0, 1, 2), beta_end=0.0005, start="gaussian"),
    "guidance": dict(num_inference_steps=4, class_label=(0, 1, 2), guidance_scale=2.5),
    "guidance 0": dict(num_inference_steps=4, class_label=1, guidance_scale=0.0),
    "guidance, Heun": dict(num_inference_steps=4, class_label=1, guidance_scale=2.5, sampler="heun"),
    "guidance on other betas": dict(num_inference_steps=4, class_label=1, guidance_scale=2.0, beta_end=0.05),
}


RUNNER = """
import os, runpy, sys, traceback
for line in sys.stdin:
    os.chdir(line.strip())
    try:
        runpy.run_path("run.py", run_name="__main__")
        assert not {"diffusion", "app", "training"} & set(sys.modules)
    except BaseException:
        open("error.txt", "w").write(traceback.format_exc())
    print("ready", flush=True)
"""


@pytest.fixture(scope="module")
def run_script():
    """run_script(folder) runs run.py there. Raises AssertionError with its traceback."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", RUNNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    )

    def run(folder):
        process.stdin.write(f"{folder}\n")
        process.stdin.flush()
        while (line := process.stdout.readline()) and line != "ready\n":
            pass
        error = folder / "error.txt"
        assert line and not error.exists(), error.read_text() if error.exists() else "the process ended"

    yield run
    process.stdin.close()
    assert process.wait(timeout=60) == 0


def pictures_of_script(run_script, pipeline, folder, fields, tmp_path) -> tuple[np.ndarray, np.ndarray]:
    """The run's own pictures, and those of its script: (N, H, W, C) uint8 each."""
    for step in pipeline.steps(**fields):
        last = step.x_s
    plan = pipeline.plan(pipeline_settings(fields))
    source = python_script(plan, pipeline.scheduler.config, "tiny")
    assert "diffusion." not in source.replace("diffusion_pytorch", "")
    (tmp_path / "run.py").write_text(source.replace("checkpoints/tiny", str(folder)))
    run_script(tmp_path)
    seeds = range(fields["seed"], fields["seed"] + fields["num_images"])
    made = [np.atleast_3d(np.asarray(Image.open(tmp_path / f"tiny-{seed}.png"))) for seed in seeds]
    return to_uint8(last), np.stack(made)


def pipeline_settings(fields):
    from diffusion.settings import SamplingSettings

    return SamplingSettings(**fields)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    DDPMPipeline(make_unet(0, 3, 8), DDPMScheduler()).save_pretrained(folder)
    add_showcase(folder, 0, 3)
    return DDPMLabPipeline.from_checkpoint(folder), folder


@pytest.fixture(scope="module")
def with_classes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    DDPMPipeline(make_unet(3, 1, 8), DDPMScheduler()).save_pretrained(folder)
    add_showcase(folder, 3, 1)
    return DDPMLabPipeline.from_checkpoint(folder), folder


@pytest.mark.parametrize("name", RUNS)
def test_every_kind_of_run(run_script, plain, tmp_path, name):
    own, made = pictures_of_script(run_script, *plain, dict(seed=11, num_images=3, **RUNS[name]), tmp_path)
    assert (own == made).all()


@pytest.mark.parametrize("name", WITH_CLASSES)
def test_classes_and_guidance(run_script, with_classes, tmp_path, name):
    own, made = pictures_of_script(
        run_script, *with_classes, dict(seed=11, num_images=3, **WITH_CLASSES[name]), tmp_path
    )
    assert (own == made).all()


@pytest.mark.parametrize("prediction_type", ["sample", "v_prediction"])
@pytest.mark.parametrize("beta_end", [None, 0.05])
def test_other_predictions(run_script, tmp_path, prediction_type, beta_end):
    folder = tmp_path / "checkpoint"
    DDPMPipeline(make_unet(0, 1, 8), DDPMScheduler(prediction_type=prediction_type)).save_pretrained(folder)
    fields = dict(seed=0, num_images=2, num_inference_steps=5, eta=0.5, beta_end=beta_end)
    own, made = pictures_of_script(run_script, DDPMLabPipeline.from_checkpoint(folder), folder, fields, tmp_path)
    assert (own == made).all()


def test_betas_given_one_by_one(run_script, tmp_path):
    folder = tmp_path / "checkpoint"
    betas = np.linspace(0.001, 0.3, 20).tolist()
    scheduler = DDPMScheduler(num_train_timesteps=20, trained_betas=betas)
    DDPMPipeline(make_unet(0, 1, 8), scheduler).save_pretrained(folder)
    pipeline = DDPMLabPipeline.from_checkpoint(folder)
    own, made = pictures_of_script(
        run_script, pipeline, folder, dict(seed=0, num_images=2, num_inference_steps=5, sampler="ddpm"), tmp_path
    )
    assert (own == made).all()
