"""How much slower is a run whose x_t and x_0_hat stream to the page? Seconds with and without, in one run.

python -m benchmarks.streaming [--rounds 5] [--images 16] [--steps 50]

Both make the same pictures in the network's thread. With streaming, another thread draws the two pictures four times a
second, as PNG in HTML, and writes the message that the browser gets, as the page's handler does. The two take turns;
the ratio of their medians has the limit 1.05.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator

from app.generate import render as views
from app.generate.run import watch_run
from app.server.checkpoints import Catalogue
from app.server.network import in_network_thread
from app.server.options import ROOT
from app.ui.html import progress_line
from benchmarks.table import Row, print_rows
from diffusion.console import accept_any_encoding
from diffusion.pipeline import DDPMLabPipeline
from diffusion.settings import SamplingSettings

LIMIT = 1.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, default=50)
    print_rows(rows(**vars(parser.parse_args())))


def rows(rounds: int = 5, images: int = 16, steps: int = 50) -> Iterator[Row]:
    """Yield one row per checkpoint: the ratio of the medians."""
    catalogue = Catalogue(ROOT / "checkpoints")
    for name in catalogue.names():
        pipeline = catalogue.pipeline(name).fast()
        labels = tuple(k % pipeline.classes for k in range(images)) if pipeline.classes else None
        settings = SamplingSettings(checkpoint=name, num_inference_steps=steps, num_images=images, class_label=labels)
        pipeline.set_progress_bar_config(disable=True)
        alone(pipeline, settings.replace(num_inference_steps=min(5, steps)))
        without, streamed = [], []
        for _ in range(rounds):
            without.append(alone(pipeline, settings))
            streamed.append(with_page(pipeline, settings))
        ratio = statistics.median(seconds for seconds, _ in streamed) / statistics.median(without)
        looks = statistics.median(looks for _, looks in streamed)
        what = f"{name}: DDIM-{steps} of {images} with streaming previews ({looks:.0f} a run) against without"
        yield Row.at_most(what, ratio, LIMIT, "{:.3f}")


def alone(pipeline: DDPMLabPipeline, settings: SamplingSettings) -> float:
    """Return the seconds of the run without streaming."""
    began = time.perf_counter()
    in_network_thread(lambda: pipeline(settings))
    return time.perf_counter() - began


def with_page(pipeline: DDPMLabPipeline, settings: SamplingSettings) -> tuple[float, int]:
    """Return the seconds of the run to its last step while it streams, and the number of previews."""
    looks = 0
    for progress in watch_run(pipeline, pipeline.plan(settings)):
        looks += 1
        if progress.state == "running":
            json.dumps({"data": [views.running(progress, "en"), progress_line(progress, "en"), None]})
    return progress.seconds, looks


if __name__ == "__main__":
    accept_any_encoding()
    main()
