"""Links, PNG recipes and scripts of the first version still restore and verify: see tests/data/recipes/README.md."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
from PIL import Image

from app.controls.values import controls_of, settings_of
from app.server.checkpoints import Catalogue
from app.server.options import Options
from app.ui.images import as_saved
from diffusion.pipeline import DDPMLabPipeline
from diffusion.pixels import to_uint8
from diffusion.sharing.recipe import compare, from_query, pixels_sha256, read_png

FOLDER = Path(__file__).parent / "data" / "recipes"
NAMES = sorted(path.stem for path in FOLDER.glob("*.png"))
RUN_ALL = """
import os, runpy, sys, torch
torch.set_num_threads(1)
for name in sys.argv[1:]:
    os.chdir(name)
    runpy.run_path("run.py", run_name="__main__")
    os.chdir("..")
assert not {"diffusion", "app", "training"} & set(sys.modules)
"""


def verified(fresh: np.ndarray, saved: np.ndarray) -> bool:
    """Whether pictures are the saved ones; another processor's float32 may turn one value in a thousand by a level."""
    verdict, _, count = compare(fresh, saved)
    return verdict == "identical" or (verdict == "close" and count <= fresh.size / 1000)


def pipeline_of(name: str) -> DDPMLabPipeline:
    pipeline = DDPMLabPipeline.from_checkpoint(FOLDER / "checkpoints" / name)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_a_dozen_are_kept():
    assert len(NAMES) == 12


@pytest.mark.parametrize("name", NAMES)
def test_a_png_of_the_first_version_verifies(name):
    recipe, saved = read_png((FOLDER / f"{name}.png").read_bytes())
    pipeline = pipeline_of(recipe.settings.checkpoint)
    *_, last = pipeline.steps(recipe.settings)
    fresh, kept = as_saved(to_uint8(last.x_s), saved)
    assert verified(fresh, kept)
    if np.array_equal(fresh, kept):
        assert pixels_sha256(to_uint8(last.x_s)) == recipe.pixels_sha256


@pytest.mark.parametrize("name", NAMES)
def test_a_link_of_the_first_version_restores_the_settings(name):
    recipe, _ = read_png((FOLDER / f"{name}.png").read_bytes())
    query = dict(parse_qsl((FOLDER / f"{name}.link.txt").read_text().strip().lstrip("?")))
    settings = from_query(query)
    assert settings == recipe.settings
    if settings.start_step == 0:  # what has no control is told instead
        checkpoint = Catalogue(FOLDER / "checkpoints").checkpoint(settings.checkpoint)
        values = controls_of(settings, checkpoint)
        again = settings_of(values, checkpoint, Options())
        pipeline = pipeline_of(settings.checkpoint)
        plans = pipeline.plan(settings), pipeline.plan(again)
        assert plans[0].pairs == plans[1].pairs and plans[0].class_labels == plans[1].class_labels
        assert plans[0].schedule.betas.equal(plans[1].schedule.betas)
        worded_otherwise = {"eta", "class_label", "beta_schedule", "beta_start", "beta_end"}
        assert again.model_dump(exclude=worded_otherwise) == settings.model_dump(exclude=worded_otherwise)
        assert again.effective_eta == settings.effective_eta


def test_scripts_of_the_first_version_make_the_pictures(tmp_path):
    for name in NAMES:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.py").write_text((FOLDER / f"{name}.py.txt").read_text(encoding="utf-8"), encoding="utf-8")
        (folder / "checkpoints").symlink_to(FOLDER / "checkpoints")
    subprocess.run([sys.executable, "-I", "-c", RUN_ALL, *NAMES], cwd=tmp_path, check=True, timeout=300)
    for name in NAMES:
        recipe, saved = read_png((FOLDER / f"{name}.png").read_bytes())
        settings = recipe.settings
        paths = [tmp_path / name / f"{settings.checkpoint}-{settings.seed + k}.png" for k in range(settings.num_images)]
        images = np.stack([np.asarray(Image.open(path)) for path in paths])
        images = images if images.ndim == 4 else images[..., None]
        assert verified(*as_saved(images, saved)), name
