"""A new setting, one field in a copy of the settings, appears everywhere in the program.

toy_setting.py runs inside that copy and makes the checks.
"""

import shutil
import subprocess
import sys

import pytest

from tests.app.running import REPOSITORY

FIELD = """    noise_scale: Annotated[
        float,
        Control(group="sampler", step=0.1, unit="sd"),
        OnAxis("0-2[5]"),
        When("sampler", lambda sampler: sampler == "ddpm"),
    ] = Field(1.0, ge=0, le=2, description="How much of the fresh noise is added.")

"""
BELOW_THE_FIELDS = '    @field_validator("class_label", mode="before")'


@pytest.fixture
def copy(tmp_path):
    """The program and its tests in another folder, with one field more."""
    for name in ("app", "diffusion", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "data", "training")
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=ignored)
    path = tmp_path / "diffusion" / "settings.py"
    before, marker, after = path.read_text(encoding="utf-8").partition(BELOW_THE_FIELDS)
    assert marker
    path.write_text(before + FIELD + marker + after, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_one_field_is_a_setting_with_all_that_belongs_to_it(copy):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/app/toy_setting.py"]
    result = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
