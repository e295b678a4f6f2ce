"""How long until the page answers, and until the first picture? Compared with the smallest Gradio app, in one run.

python -m benchmarks.startup [--rounds 3]

Page: the time from starting a process until its address answers, for a page with one text and for `python app.py`, in
turns. The limit of the ratio is 1.3. First picture: in a process that has laid its page out, the rest of the imports,
the checkpoint with an engine that is built and with one that was kept, and the default run, cold and warm. The limit of
cold over warm is 1.5.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from app.controls.values import DEFAULTS
from app.server.options import ROOT
from benchmarks.table import Row, print_rows
from diffusion.console import accept_any_encoding
from tests.app.running import free_port

PAGE, FIRST = 1.3, 1.5
HELLO = "import gradio as gr\nwith gr.Blocks() as demo: gr.Markdown('hello')\ndemo.launch()"
INSIDE = """
import time
from app.ui.lazy_import import import_all
from app.page import build_demo
from app.server.options import Options
page = time.perf_counter()
import_all().join()
imported = time.perf_counter()
from benchmarks.startup import default_run
from app.server.checkpoints import Catalogue
from app.page import quick
loading = time.perf_counter()
catalogue = Catalogue(Options().checkpoints, quicken=quick)
name = catalogue.default()
pipeline = catalogue.quick_pipeline(name)
loaded = time.perf_counter()
settings = default_run(catalogue, name)
from app.generate.run import watch_run
def run():
    start = time.perf_counter()
    for _ in watch_run(pipeline, pipeline.plan(settings)):
        pass
    return time.perf_counter() - start
print(imported - page, loaded - loading, run(), *sorted(run() for _ in range(3)))
"""


def environment(port: int = 0) -> dict[str, str]:
    """Return the variables of a process that contacts nobody."""
    quiet = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "NO_PROXY": "localhost,127.0.0.1"}
    return os.environ | quiet | {"GRADIO_SERVER_PORT": str(port)}


@contextmanager
def started(*command: str, **variables: str) -> Iterator[tuple[float, str, int]]:
    """Start a Python process that serves a page; yield the seconds until its first answer, its address and process id.

    variables: added to its environment. The process is ended afterwards.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(port) | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None:
            try:
                urllib.request.urlopen(address, timeout=30).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.02)
        else:
            raise RuntimeError(f"{' '.join(command)} ended before it served a page")
        yield time.perf_counter() - began, address, process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)


def page_seconds(*command: str) -> float:
    """Return the seconds from starting a process to the first answer of its page."""
    with started(*command) as (seconds, _, _):
        return seconds


def default_run(catalogue, name: str):
    """Return the settings of the run that the page offers first."""
    from app.controls.values import defaults, settings_of
    from app.server.options import Options

    checkpoint = catalogue.checkpoint(name)
    return settings_of(defaults(checkpoint, Options()), checkpoint, Options())


def first_picture(engines: str) -> dict[str, float]:
    """Time a fresh process, in seconds: imports, checkpoint and engine, cold and warm run of the default settings.

    engines: the folder where it keeps its engines.
    """
    env = environment() | {"DDPM_LAB_CACHE": engines}
    answer = subprocess.run([sys.executable, "-c", INSIDE], cwd=ROOT, env=env, capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError(answer.stderr)
    imports, engine, cold, *warm = map(float, answer.stdout.split())
    return {"imports": imports, "engine": engine, "cold": cold, "warm": statistics.median(warm)}


def rows(rounds: int = 3) -> Iterator[Row]:
    """Yield the rows of the page, then of the first picture, with what precedes it part by part."""
    pages = [(page_seconds("-c", HELLO), page_seconds("app.py")) for _ in range(rounds)]
    hello, ours = (statistics.median(column) for column in zip(*pages, strict=True))
    what = f"`python app.py` to the first page ({ours:.1f} s) against a hello-world Gradio app ({hello:.1f} s)"
    yield Row.at_most(what, ours / hello, PAGE)
    with TemporaryDirectory() as engines:
        made, *runs = [first_picture(engines) for _ in range(rounds + 1)]
    found = {key: statistics.median(run[key] for run in runs) for key in made}
    yield Row("page up to first picture: the rest of the imports", f"{found['imports']:.2f} s")
    yield Row("the checkpoint and its engine, kept from before", f"{found['engine']:.2f} s")
    yield Row("the checkpoint and its engine, made first", f"{made['engine']:.2f} s")
    steps, images = DEFAULTS["num_inference_steps"], DEFAULTS["num_images"]
    what = f"first run of the default settings ({images} x {steps} steps, {found['cold']:.1f} s) against a warm one"
    yield Row.at_most(what, found["cold"] / found["warm"], FIRST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    print_rows(rows(**vars(parser.parse_args())))


if __name__ == "__main__":
    accept_any_encoding()
    main()
