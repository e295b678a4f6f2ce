"""Many visitors and many runs: everyone gets the right pictures, and the server's memory does not grow."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client
from PIL import Image

from diffusion.settings import SamplingSettings
from tests.app.api.test_endpoint import get, post
from tests.app.running import running_app

VISITORS = 20


@pytest.fixture(scope="module")
def server(checkpoints, tmp_path_factory):
    """An app of its own, so that its memory is that of these runs alone."""
    with running_app(checkpoints, tmp_path_factory.mktemp("load")) as address:
        yield address


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
    clients = [Client(server, verbose=False, download_files=False) for _ in runs]

    def visit(number: int) -> list[str]:
        return clients[number].predict(**runs[number], api_name="/generate")[0]

    with ThreadPoolExecutor(VISITORS) as pool:
        answers = list(pool.map(visit, range(VISITORS)))
    for fields, images in zip(runs, answers, strict=True):
        expected = catalogue.pipeline(fields["checkpoint"])(SamplingSettings(**fields)).images
        assert len(images) == len(expected)
        for image, picture in zip(images, expected, strict=True):
            assert np.array_equal(pixels(image), np.asarray(picture))


@pytest.mark.slow
def test_memory_after_300_runs_is_that_after_30(server):
    """Runs of the page itself, by ten visitors in turn. (Gradio keeps something for each visitor, up to a limit.)"""
    config = json.loads(get(f"{server}/config"))
    by_id = {component["id"]: component for component in config["components"]}
    (run,) = (
        event
        for event in config["dependencies"]
        if event["api_name"] == "run" and len(event["inputs"]) < 20 and event["queue"]
    )
    known = {"Checkpoint": "clothes", "Steps": 4, "Number of pictures": 3}
    props = [by_id[one]["props"] for one in run["inputs"]]
    data = ["en", *(known.get(one["label"], one.get("value")) for one in props[1:])]

    def visit(number: int) -> None:
        session = f"visitor-{number % 10}"
        body = {"data": data, "fn_index": run["id"], "session_hash": session}
        post(f"{server}/gradio_api/queue/join", json.dumps(body))
        assert '"success":true' in get(f"{server}/gradio_api/queue/data?session_hash={session}")

    def resident() -> int:
        status = Path(f"/proc/{server.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    for number in range(30):
        visit(number)
    early = resident()
    for number in range(30, 300):
        visit(number)
    assert resident() < 1.05 * early, f"{early} kB after 30 runs, {resident()} kB after 300"
