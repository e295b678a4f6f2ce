"""The links to runs to begin with: each opens what its name says, on the checkpoint that is on the page."""

import re
from html import unescape
from urllib.parse import parse_qsl

import pytest

from app.compare.presets import PRESETS
from app.controls.values import controls_of
from app.generate.quick_presets import QUICK, quick_links
from app.texts import LANGUAGES, texts
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import from_query


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["clothes", "faces"])
def test_every_link_is_a_run_of_the_checkpoint(catalogue, name, language):
    checkpoint = catalogue.checkpoint(name)
    settings = SamplingSettings(checkpoint=name, sampler="ddpm", reverse_variance="beta", seed=5, num_images=3)
    links = quick_links(settings, checkpoint, language)
    found = dict(re.findall(r'<a href="\?([^"]+)" data-starts>([^<]+)</a>', links))
    offered = [one for one in QUICK if one != "naive" or checkpoint.beta_start is not None]
    assert list(found.values()) == [texts(language)[f"quick.{one}"] for one in offered]
    few, against, *naive = (dict(parse_qsl(unescape(query))) for query in found)
    assert against == {"tab": "compare", "preset": "ddpm-ddim", "checkpoint": name} and against["preset"] in PRESETS
    runs = [from_query(one) for one in (few, *naive)]
    assert all((run.checkpoint, run.seed, run.num_images) == (name, 5, 3) for run in runs)
    for run in runs:
        controls_of(run, checkpoint)  # the page can show it
        catalogue.pipeline(name).plan(run)
    assert (runs[0].sampler, runs[0].num_inference_steps, runs[0].has_own_betas) == ("unipc", 8, False)
    for run in runs[1:]:
        assert (run.conditioning, run.sampler) == ("naive", "ddim")
        assert run.beta_end == pytest.approx(checkpoint.beta_end / 2)
    assert len(runs) == {"clothes": 2, "faces": 1}[name]
