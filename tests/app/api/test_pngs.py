"""The pictures of an answer, as files with a recipe."""

import base64
import shutil

import numpy as np

from app.api.runs import pngs
from app.server.checkpoints import Catalogue
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import read_png
from tests.app.checkpoints import make_checkpoint


def test_pictures_name_the_network_that_drew_them_though_its_folder_was_replaced(tmp_path):
    make_checkpoint(tmp_path / "one", classes=3)
    catalogue = Catalogue(tmp_path)
    before, pipeline = catalogue.checkpoint("one").sha256, catalogue.pipeline("one")
    plan = pipeline.plan(SamplingSettings(checkpoint="one", num_images=2, class_label=1, num_inference_steps=2))
    shutil.rmtree(tmp_path / "one")
    make_checkpoint(tmp_path / "one", classes=3, beta_end=0.01)
    assert catalogue.checkpoint("one").sha256 != before
    files = pngs(pipeline, plan, np.zeros((2, 8, 8, 1), dtype=np.uint8))
    recipes = [read_png(base64.b64decode(file.partition(",")[2]))[0] for file in files]
    assert {recipe.checkpoint_sha256 for recipe in recipes} == {before}
