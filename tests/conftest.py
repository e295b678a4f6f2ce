"""Shared by every test: no network, no telemetry, and the small real data sets of the repository."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", GRADIO_ANALYTICS_ENABLED="False")
# The named data sets are the subsets in this folder, here and in every process that a test starts
os.environ["DDPM_LAB_DATA"] = str(Path(__file__).parent / "data")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads make a shared machine ten times slower

# What is derived from networks is derived anew in every run of the tests, and shared by their processes
if "DDPM_LAB_CACHE" not in os.environ:  # the processes of xdist share it
    os.environ["DDPM_LAB_CACHE"] = tempfile.mkdtemp(prefix="ddpm-lab-engines-")
    atexit.register(shutil.rmtree, os.environ["DDPM_LAB_CACHE"], ignore_errors=True)

import pytest
import torch

DATA = Path(os.environ["DDPM_LAB_DATA"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold a slow test, so that no process is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def own_randomness():
    """No test depends on the random numbers that another one drew."""
    torch.manual_seed(0)
