"""The shipped checkpoints: each can be used and draws pictures."""

import numpy as np
import pytest

from app.controls.values import defaults, settings_of
from app.generate.previews import data_uri_of, samples_uri
from app.generate.run import watch_run
from app.server.checkpoints import Catalogue
from app.server.options import Options
from app.texts import LANGUAGES, texts

SHIPPED = Catalogue(Options().checkpoints)


def test_something_is_shipped():
    assert SHIPPED.names()


@pytest.mark.parametrize("name", SHIPPED.names())
def test_loads_and_generates(name):
    options = Options()
    checkpoint = SHIPPED.checkpoint(name)
    values = {"checkpoint": name} | defaults(checkpoint, options) | {"num_images": 2, "num_inference_steps": 5}
    for sampler in ("ddim", "ddpm"):
        settings = settings_of(values | {"sampler": sampler}, checkpoint, options)
        pipeline = SHIPPED.pipeline(name)
        *_, last = watch_run(pipeline, pipeline.plan(settings))
        assert last.content.is_finite and np.ptp(last.content.x_t) > 50
    assert samples_uri(checkpoint) and data_uri_of(checkpoint)


@pytest.mark.parametrize("name", SHIPPED.names())
def test_has_names_in_every_language(name):
    checkpoint = SHIPPED.checkpoint(name)
    for language in LANGUAGES:
        known = texts(language)
        assert f"checkpoints.{checkpoint.data_name}" in known
        assert all(f"classes.{label}" in known or label.isdigit() for label in checkpoint.class_names)
