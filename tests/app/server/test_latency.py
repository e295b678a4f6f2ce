"""The expected time of a run: measured on every checkpoint, however short its schedule."""

import pytest

from app.server.checkpoints import Catalogue
from app.server.latency import Latency
from diffusion.settings import SamplingSettings
from tests.app.checkpoints import make_checkpoint


@pytest.mark.parametrize("T", [2, 3, 10, 49])
@pytest.mark.parametrize("classes", [0, 3])
def test_a_short_schedule_is_measured(tmp_path, T, classes):
    make_checkpoint(tmp_path / "short", classes=classes, num_train_timesteps=T)
    pipeline, latency = Catalogue(tmp_path).pipeline("short"), Latency()
    latency.measure("short", pipeline)
    plan = pipeline.plan(SamplingSettings(checkpoint="short", num_inference_steps=1))
    assert latency.expected_seconds("short", plan) >= 0
