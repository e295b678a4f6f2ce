"""Many visitors and many runs: everyone gets the right pictures, and the server's memory does not grow."""

import base64
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from diffusion.settings import SamplingSettings
from tests.app.api.test_endpoint import get, post
from tests.app.running import client_of, running_app

VISITORS = 20
A_RUN = 5_000  # bytes that a run may leave behind; its pictures and its film are over 200,000

# In the server's process, at SIGUSR1: what its arrays, bytes and texts of more than 1000 bytes come to
COUNTING = """
import gc, os, signal

def size(one):
    if isinstance(one, (bytes, bytearray, str)):
        return len(one)
    return one.nbytes if type(one).__name__ == "ndarray" else 0

def count(*_):
    gc.collect()
    held = {{id(one): size(one) for container in gc.get_objects() for one in gc.get_referents(container)}}
    with open("{report}.part", "w") as file:
        file.write(str(sum(size for size in held.values() if size > 1000)))
    os.replace("{report}.part", "{report}")

signal.signal(signal.SIGUSR1, count)
"""


@pytest.fixture(scope="module")
def server(checkpoints, tmp_path_factory):
    """An app of its own, so that what it holds is of these runs alone; `settled` asks it."""
    folder = tmp_path_factory.mktemp("load")
    report = folder / "report"
    (folder / "sitecustomize.py").write_text(COUNTING.format(report=report), encoding="utf-8")
    with running_app(checkpoints, folder, variables={"PYTHONPATH": str(folder)}) as address:
        address.report = report
        yield address


def held(server) -> int:
    """Bytes, by the server's own count; no measure of the machine's memory."""
    server.report.unlink(missing_ok=True)
    os.kill(server.pid, signal.SIGUSR1)
    while not server.report.exists():  # the test's own time limit ends a wait in vain
        time.sleep(0.1)
    return int(server.report.read_text())


def settled(server) -> int:
    """The same, once nothing goes on in the background: an engine is made after the first runs."""
    before = held(server)
    while True:
        time.sleep(3)
        now = held(server)
        if abs(now - before) < A_RUN:
            return now
        before = now


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_twenty_visitors_at_once_get_their_own_pictures(server, catalogue):
    runs = [
        dict(
            checkpoint=("clothes", "faces")[number % 2],
            sampler=("ddim", "ddpm")[number % 3 == 0],
            num_inference_steps=5 + number,
            seed=100 * number,
            num_images=1 + number % 3,
        )
        for number in range(VISITORS)
    ]
    clients = [client_of(server) for _ in runs]

    def visit(number: int) -> list[str]:
        return clients[number].predict(**runs[number], api_name="/generate")[0]

    with ThreadPoolExecutor(VISITORS) as pool:
        answers = list(pool.map(visit, range(VISITORS)))
    for fields, images in zip(runs, answers, strict=True):
        expected = catalogue.pipeline(fields["checkpoint"])(SamplingSettings(**fields)).images
        assert len(images) == len(expected)
        for image, picture in zip(images, expected, strict=True):
            assert np.array_equal(pixels(image), np.asarray(picture))


def events_of_generate(config: dict, by_id: dict) -> tuple[dict, dict]:
    """The click on Generate, and what runs after it."""
    buttons = {number for number, props in by_id.items() if props.get("value") == "Generate"}
    events = config["dependencies"]
    (begin,) = (one for one in events if buttons & {target for target, _ in one["targets"]} and one["inputs"])
    (run,) = (one for one in events if one["trigger_after"] == begin["id"] and one["api_name"].startswith("run"))
    return begin, run


@pytest.mark.slow  # 90 runs, one after another
def test_a_run_leaves_nothing_behind(server):
    """Runs of the page itself, by ten visitors in turn. (Gradio keeps something for each visitor, up to a limit.)"""
    config = json.loads(get(f"{server}/config"))
    by_id = {component["id"]: component["props"] for component in config["components"]}
    begin, run = events_of_generate(config, by_id)
    known = {"Checkpoint": "clothes", "Steps": 20, "Number of pictures": 16}

    def visit(number: int) -> None:
        session = f"visitor-{number % 10}"
        for event in (begin, run):  # the click plans and queues; the run that follows it draws
            sent = [by_id[one] for one in event["inputs"]]
            data = [known.get(props.get("label"), props.get("value")) for props in sent]
            body = json.dumps({"data": data, "fn_index": event["id"], "session_hash": session})
            if event["queue"]:
                post(f"{server}/gradio_api/queue/join", body)
                answer = get(f"{server}/gradio_api/queue/data?session_hash={session}")
            else:
                answer = post(f"{server}/gradio_api/run/predict", body)
        assert "image/png" in answer and '"success":true' in answer

    for number in range(30):  # caches, and what Gradio keeps of a visitor, are full by then
        visit(number)
    early = settled(server)
    for number in range(30, 90):
        visit(number)
    growth = settled(server) - early
    assert growth < 60 * A_RUN, f"{growth} bytes after 60 runs"
