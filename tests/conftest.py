"""What every test shares: no network, no telemetry, and the small real data sets of the repository."""

import os
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", GRADIO_ANALYTICS_ENABLED="False")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads make a shared machine ten times slower

import pytest
import torch

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    """The named data sets are the subsets below tests/data, here and in every process that a test starts."""
    monkeypatch.setenv("DDPM_LAB_DATA", str(DATA))


@pytest.fixture(autouse=True)
def own_randomness():
    """No test depends on the random numbers that another one drew."""
    torch.manual_seed(0)
