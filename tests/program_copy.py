"""A copy of the program in another folder, for tests that add something to it and run their checks there."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.app.running import REPOSITORY

SECONDS = 500


def copy_program(folder: Path) -> Path:
    """Copy the program and its tests, without the tests' data, into `folder`; returns it."""
    for name in ("app", "diffusion", "training", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "data" if name == "tests" else "__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    return folder


def write_above(path: Path, marker: str, text: str) -> None:
    """Insert text above the only line of a file that contains `marker`."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (place,) = [number for number, line in enumerate(lines) if marker in line]
    path.write_text("".join([*lines[:place], text, *lines[place:]]), encoding="utf-8")


def run_checks(folder: Path, file: str) -> None:
    """Run one file of checks in the copy with pytest; fails with its output if a check does."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
