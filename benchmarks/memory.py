"""How much memory does the app take after a run on every checkpoint, compared with its libraries alone?

python -m benchmarks.memory [--images 16] [--steps 50]

The ratio of two peak resident sizes: that of `python app.py` after /generate drew `images` pictures of each checkpoint,
and that of a process that only imports gradio, torch and diffusers' pipeline. The limit is 1.3. The app is started
twice: with an empty cache, so that it builds its engines, which takes more memory, and then with the kept engines.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from tempfile import TemporaryDirectory

from gradio_client import Client

from app.server.checkpoints import Catalogue
from app.server.options import ROOT
from benchmarks.startup import environment, started
from benchmarks.table import Row, print_rows
from diffusion.console import accept_any_encoding

LIMIT = 1.3

IMPORTS = """
import re
import gradio, torch
from diffusers import DDPMPipeline, UNet2DModel
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def peak_of_imports_kb() -> int:
    """Return the peak resident size, in kB, of a process that imports the libraries and ends."""
    command = [sys.executable, "-c", IMPORTS]
    return int(subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True).stdout)


def peaks_of_app_kb(images: int, steps: int, engines: str) -> dict[str, int]:
    """Return the app's peak in kB after a run on each checkpoint, in their order; the last is the peak of all.

    engines: the folder where the app keeps its engines.
    """
    peaks = {}
    with started("app.py", DDPM_LAB_CACHE=engines) as (_, address, process):
        client = Client(address, verbose=False, download_files=False)
        for name in Catalogue(ROOT / "checkpoints").names():
            client.predict(checkpoint=name, num_images=images, num_inference_steps=steps, api_name="/generate")
            peaks[name] = peak_kb(process)
    return peaks


def peak_kb(process: int) -> int:
    """Return the largest resident size, in kB, that a process ever had."""
    with open(f"/proc/{process}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def rows(images: int = 16, steps: int = 50) -> Iterator[Row]:
    """Yield the peak after each checkpoint, the peak of all against its limit, and the one with engines to build."""
    alone = peak_of_imports_kb()
    with TemporaryDirectory() as engines:
        making, peaks = (peaks_of_app_kb(images, steps, engines) for _ in range(2))
    for name, peak in peaks.items():
        yield Row(f"peak memory of the app after {name}, DDIM-{steps} of {images}", f"{peak / 1024:.0f} MB")
    what = f"the same after all, against {alone / 1024:.0f} MB of importing gradio, torch and diffusers"
    yield Row.at_most(what, max(peaks.values()) / alone, LIMIT)
    yield Row("the same where the engines had to be made first", f"{max(making.values()) / alone:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, default=50)
    print_rows(rows(**vars(parser.parse_args())))


if __name__ == "__main__":
    accept_any_encoding()
    main()
