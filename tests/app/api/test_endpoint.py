"""`python app.py` with a Space's variables, and the endpoint /generate through gradio_client and raw HTTP."""

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion.bound import estimate, measure, prior_nats, reverse_variances
from diffusion.bound_plan import BoundPlan
from diffusion.pipeline import DDPMLabPipeline
from diffusion.pixels import to_unit_range
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import Recipe, pixels_sha256
from tests.app.running import REPOSITORY, client_of, running_app


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As many threads as the server has: the same engine gives the same bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def client(app):
    return client_of(app)


@pytest.fixture(scope="module")
def pipeline(checkpoints):
    pipeline = DDPMLabPipeline.from_checkpoint(checkpoints / "clothes")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def post(address: str, body: str) -> str:
    request = urllib.request.Request(address, body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode()


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=20) as answer:
        return answer.read().decode()


def opened(address: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,"))))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"sampler": "ddpm", "num_inference_steps": 13, "num_images": 3, "class_label": [0, 2, 1], "seed": 12345},
        {"sampler": "ddpm", "num_inference_steps": 1000, "reverse_variance": "beta"},
        {"num_inference_steps": 7, "eta": 0.5, "class_label": 1, "guidance_scale": 2.5, "num_images": 2},
        {"num_inference_steps": 9, "beta_start": 0.001, "beta_end": 0.05, "conditioning": "naive"},
        {"sampler": "unipc", "num_inference_steps": 8, "timestep_spacing": "power", "num_images": 2},
        {"sampler": "dpmpp_2m", "num_inference_steps": 8, "beta_end": 0.03},
        {"num_inference_steps": 9, "beta_schedule": "squaredcos_cap_v2", "clip_sample": False, "start_step": 2},
    ],
)
def test_pixels_are_those_of_python(client, pipeline, fields):
    images, run = client.predict(checkpoint="clothes", **fields, api_name="/generate")
    expected = pipeline(SamplingSettings(checkpoint="clothes", **fields)).images
    assert len(images) == len(expected)
    for number, (address, image) in enumerate(zip(images, expected, strict=True)):
        png = opened(address)
        assert np.array_equal(np.asarray(png), np.asarray(image))
        recipe = Recipe.from_json(png.text["ddpm-lab"])
        own = recipe.settings
        assert recipe.pixels_sha256 == pixels_sha256(np.asarray(png).reshape(1, 8, 8, -1))
        assert own == SamplingSettings(checkpoint="clothes", **fields).part(number, number + 1)
    assert run["settings"]["num_inference_steps"] == fields.get("num_inference_steps", 50)


def test_colour_and_few_timesteps(client, checkpoints):
    images, _ = client.predict(checkpoint="faces", num_inference_steps=100, num_images=2, api_name="/generate")
    assert all(opened(address).mode == "RGB" and opened(address).size == (8, 8) for address in images)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"checkpoint": "nobody"}, "none named nobody"),
        ({"checkpoint": "../clothes"}, "checkpoint"),
        ({"checkpoint": None}, "checkpoint: there is none"),
        ({"checkpoint": "broken"}, "EvilPipeline"),
        ({"num_inference_steps": 0}, "num_inference_steps.*1"),
        ({"num_inference_steps": 1001}, r"num_inference_steps.*\[1, 1000\]"),
        ({"num_inference_steps": "many"}, "num_inference_steps.*integer"),
        ({"num_inference_steps": True}, "num_inference_steps.*integer"),
        ({"num_images": 65}, "Number of pictures.*1 to 64"),
        ({"num_images": 10**12}, "num_images"),
        ({"num_inference_steps": 1000, "num_images": 64}, "Steps × pictures.*64,000.*40,000"),
        ({"seed": -2}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"eta": 1.5}, "eta"),
        ({"beta_start": 0.5, "beta_end": 0.1}, "beta_end"),
        ({"beta_start": 0.9, "beta_end": 0.99}, "betas.*too large"),
        ({"class_label": 3}, r"class_label.*\[0, 3\)"),
        ({"class_label": [0, 1]}, "class_label"),
        ({"guidance_scale": 3}, "guidance_scale"),
        ({"sampler": "euler"}, "sampler.*ddpm"),
        ({"sampler": {"a": []}}, "sampler"),
        ({"clip_sample": "no"}, "clip_sample"),
    ],
)
def test_bad_values_name_the_field_and_the_server_goes_on(client, fields, said):
    with pytest.raises(Exception, match=f"(?s){said}") as caught:
        client.predict(**{"checkpoint": "clothes"} | fields, api_name="/generate")
    assert "Traceback" not in str(caught.value)
    images, _ = client.predict(checkpoint="clothes", num_inference_steps=1, api_name="/generate")
    assert len(images) == 1


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_refused(app, client, number):
    """Python's JSON reads them, and Gradio's own limits let NaN through."""
    for field in ("eta", "beta_end", "guidance_scale", "seed"):
        body = f'{{"checkpoint": "clothes", "num_inference_steps": 1, "class_label": 0, "{field}": {number}}}'
        event = json.loads(post(f"{app}/gradio_api/call/v2/generate", body))["event_id"]
        answer = get(f"{app}/gradio_api/call/generate/{event}")
        assert "event: error" in answer and field in answer and "Traceback" not in answer
    assert client.predict(checkpoint="clothes", num_inference_steps=1, api_name="/generate")


def test_both_runs_of_a_comparison_are_those_of_generate(client):
    a = {"checkpoint": "clothes", "sampler": "ddpm", "num_inference_steps": 6, "num_images": 2, "class_label": [0, 1]}
    b = a | {"sampler": "ddim", "eta": 1.0}
    *both, found = client.predict(a=a, b=b, api_name="/compare")
    for pictures, fields in zip(both, (a, b), strict=True):
        alone, _ = client.predict(**fields, api_name="/generate")
        assert [opened(one).tobytes() for one in pictures] == [opened(one).tobytes() for one in alone]
    assert found["shares_step_noise"] and [one["numbers"] for one in found["partings"]] == [[k, k] for k in range(6)]
    assert max(one["x_t"] for one in found["partings"]) < 1e-5 and found["b"]["settings"]["eta"] == 1


def test_a_seed_of_minus_one_is_drawn_and_the_answer_names_it(client):
    run = {"checkpoint": "clothes", "num_inference_steps": 1, "num_images": 2, "seed": -1}
    seeds = []
    for _ in range(2):
        images, found = client.predict(**run, api_name="/generate")
        seeds.append(found["settings"]["seed"])
        recipes = [Recipe.from_json(opened(one).text["ddpm-lab"]) for one in images]
        assert [one.settings.seed for one in recipes] == [seeds[-1], seeds[-1] + 1]
        alone, _ = client.predict(**run | {"seed": seeds[-1]}, api_name="/generate")
        assert [opened(one).tobytes() for one in images] == [opened(one).tobytes() for one in alone]
    assert seeds[0] != seeds[1] and min(seeds) >= 0
    *_, found = client.predict(a=run, b=run | {"eta": 1.0}, api_name="/compare")
    assert found["a"]["settings"]["seed"] == found["b"]["settings"]["seed"] >= 0  # the same first noise
    cells, _ = client.predict(axes={"eta": "0, 1"}, settings=run, api_name="/explore")
    first, second = (cell["settings"]["seed"] for cell in cells)
    assert first == second >= 0


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ({}, {"eta": 7}, "b: eta"),
        ({"nothing": 1}, {}, "a: nothing"),
        ([], {}, "a: must be an object"),
        ({}, None, "b: must be an object"),
        ({}, {"num_images": 2}, "num_images: must be the same"),
        ({"checkpoint": "faces", "num_inference_steps": 5}, {"checkpoint": "clothes"}, "checkpoint: both"),
        ({"num_inference_steps": 1000, "num_images": 40}, {"num_images": 40}, "40,000"),
    ],
)
def test_bad_comparisons_say_which_run_and_field(client, a, b, said):
    run = {"checkpoint": "clothes"}
    a, b = (run | one if isinstance(one, dict) else one for one in (a, b))
    with pytest.raises(Exception, match=said):
        client.predict(a=a, b=b, api_name="/compare")
    assert client.predict(checkpoint="clothes", num_inference_steps=1, api_name="/generate")


def test_the_cells_of_a_grid_are_those_of_generate(client):
    axes = {"num_inference_steps": "2, 5", "sampler": ["ddpm", "ddim"]}
    cells, found = client.predict(axes=axes, settings={"checkpoint": "clothes", "num_images": 2}, api_name="/explore")
    values = [(cell["values"]["num_inference_steps"], cell["values"]["sampler"]) for cell in cells]
    assert values == [(2, "ddpm"), (5, "ddpm"), (2, "ddim"), (5, "ddim")]
    assert (found["cells"], found["network_calls"]) == (4, 14)
    for cell in cells[1:3]:
        alone, _ = client.predict(checkpoint="clothes", num_images=2, **cell["values"], api_name="/generate")
        assert [opened(one).tobytes() for one in cell["images"]] == [opened(one).tobytes() for one in alone]
        assert Recipe.from_json(opened(cell["images"][1]).text["ddpm-lab"]).settings.seed == 1
        assert cell["network_calls"] == cell["values"]["num_inference_steps"] and cell["seconds"] > 0


@pytest.mark.parametrize(
    ("axes", "settings", "said"),
    [
        ({}, {}, "axes: a grid has 1 to 3, got 0"),
        ([], {}, "axes: must be an object"),
        ({"num_images": [1]}, {}, "axes: axis: must be one of num_inference_steps"),
        ({"num_inference_steps": "4, 0"}, {}, "axes, value 2: num_inference_steps: .*1, got 0"),
        ({"num_inference_steps": [4, 2000]}, {}, r"axes, value 2: num_inference_steps: must lie in \[1, 1000\]"),
        ({"eta": [0, None, {"a": []}]}, {}, "axes, value 3: eta: "),
        ({"seed": 3}, {}, "axes: seed: must be a list of values or a text"),
        ({"checkpoint": "clothes, ../clothes"}, {}, "axes, value 2: checkpoint: "),
        ({"seed": "0-19"}, {"num_inference_steps": 1000, "num_images": 3}, "60,000.*40,000"),
        ({"seed": [0, -1]}, {}, "axes, value 2: seed: -1 draws a random seed only where"),
        ({"seed": "0-1"}, {"num_images": 65}, "Number of pictures.*1 to 64"),
        ({"seed": "0-1"}, {"eta": 7}, "settings: eta"),
        ({"seed": "0-1"}, [], "settings: must be an object"),
    ],
)
def test_bad_grids_say_which_axis_and_value(client, axes, settings, said):
    settings = {"checkpoint": "clothes"} | settings if isinstance(settings, dict) else settings
    with pytest.raises(Exception, match=said):
        client.predict(axes=axes, settings=settings, api_name="/explore")


def test_a_frontier_is_measured(client):
    settings = {"checkpoint": "faces", "num_images": 2}
    found = client.predict(settings=settings, num_inference_steps="2, 10", eta="0, unipc", api_name="/frontier")
    points = [(one["sampler"], one["measure"], one["calls"], one["n"]) for one in found["points"]]
    assert points == [(name, "rms", calls, 2) for name in ("ddim", "unipc") for calls in (2, 10)]
    assert found["points"][0]["value"] > 0
    wrong = {"samples": 5}, {"eta": "0, 2"}, {"num_inference_steps": "101"}
    problems = r"samples: must lie in \[20, 2000\], got 5", "samplers, value 2: eta", r"steps, value 1: .*\[1, 100\]"
    for fields, said in zip(wrong, problems, strict=True):
        with pytest.raises(Exception, match=said):
            client.predict(settings=settings, **fields, api_name="/frontier")


@pytest.mark.parametrize(
    ("fields", "timesteps"),
    [({}, [999, 799, 599, 399, 199]), ({"timestep_spacing": "even"}, [999, 749, 500, 250, 0])],
    ids=["default", "even"],
)
def test_the_schedule_is_that_of_the_paper(client, fields, timesteps):
    found = client.predict(checkpoint="clothes", num_inference_steps=5, **fields, api_name="/schedule")
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[found["timesteps"]]
    assert found["timesteps"] == timesteps
    assert np.allclose(found["alphas_cumprod"], abar, rtol=1e-9)
    assert np.allclose(found["log_snr_fed"], np.log(abar / (1 - abar)), rtol=1e-9)
    assert found["log_snr_told"] == found["log_snr_fed"] and found["on_trained_betas"]
    assert found["signal_left"] == pytest.approx(0.00635, abs=1e-5)
    with pytest.raises(Exception, match=r"num_inference_steps: must lie in \[1, 1000\]"):
        client.predict(checkpoint="clothes", num_inference_steps=2000, api_name="/schedule")


def test_the_bound_is_that_of_the_mathematics(client, pipeline, checkpoints):
    """Against measure_bits' own way, from the pixels in the checkpoint's folder."""
    found = client.predict(checkpoint="clothes", picture=3, evaluations=64, seed=5, api_name="/bound")
    with np.load(checkpoints / "clothes" / "reference" / "test.npz") as arrays:
        x_0 = to_unit_range(arrays["images"][2:3])
        label = int(arrays["labels"][2])
    plan_of_run = pipeline.plan(SamplingSettings(class_label=label))
    timesteps = list(range(999, -1, -1))
    plan = BoundPlan.stratified(plan_of_run.schedule, timesteps, 64, decoder_draws=4, seed=5)
    errors = list(measure(pipeline.denoiser(plan_of_run), x_0, plan, [torch.Generator().manual_seed(5)]))
    for kind in ("posterior", "beta"):
        total = estimate(plan, prior_nats(x_0, 999, plan.schedule), errors, reverse_variances(plan, kind))
        assert found["bits_per_dim"][kind]["estimate"] == pytest.approx(total.bpd, rel=1e-6)
        parts = sum(term["counts"] * term["bpd"][kind] for term in found["terms"]) + found["prior_bpd"]
        assert parts == pytest.approx(total.bpd, rel=1e-6)
    assert found["class_label"] == label and len(found["terms"]) <= 64


def test_a_picture_of_ones_own_has_a_bound_too(client):
    images, _ = client.predict(checkpoint="clothes", num_inference_steps=2, class_label=1, api_name="/generate")
    found = client.predict(checkpoint="clothes", image=images[0], class_label=1, evaluations=64, api_name="/bound")
    assert found["class_label"] == 1 and np.isfinite(found["bits_per_dim"]["beta"]["estimate"])
    alone = client.predict(checkpoint="clothes", image=images[0], evaluations=64, api_name="/bound")
    assert alone["class_label"] is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"picture": 0}, r"picture: must lie in \[1, 64\], got 0"),
        ({"picture": 65}, r"picture: must lie in \[1, 64\]"),
        ({"evaluations": 3}, "evaluations: must be at least"),
        ({"evaluations": 10**39}, r"evaluations: must lie in \[1, 100000\], got 1000000000"),
        ({"evaluations": -5}, r"evaluations: must lie in \[1, 100000\], got -5"),
        ({"image": "no picture"}, "image: not base64"),
        ({"image": "data:image/png;base64,AAAA"}, "image: not a picture"),
        ({"class_label": 1}, "class_label: is that of your own image"),
        ({"beta_end": 7}, "beta_end"),
        ({"checkpoint": "nobody"}, "nobody"),
    ],
)
def test_bad_requests_for_a_bound_name_the_field(client, fields, said):
    with pytest.raises(Exception, match=said):
        client.predict(**{"checkpoint": "clothes"} | fields, api_name="/bound")


def test_only_the_named_endpoints_are_public(client):
    endpoints = client.view_api(return_format="dict")
    names = ["/generate", "/compare", "/explore", "/frontier", "/schedule", "/bound"]
    assert list(endpoints["named_endpoints"]) == names
    assert endpoints["unnamed_endpoints"] == {}


def test_private_events_say_what_is_wrong_with_what_they_get(app, client):
    config = json.loads(get(f"{app}/config"))
    events = [event for event in config["dependencies"] if event["backend_fn"] and event["inputs"]]
    assert len(events) >= 7
    wrong = (None, {"a": []}, "x" * 1000, -1, 1e308, [[[]]], 10**40)
    for place, event in enumerate(events):  # two each, in turn: there are many, and test_fuzz.py draws more
        for number in (place % len(wrong), (place + 3) % len(wrong)):
            value = wrong[number]
            data = [value] * len(event["inputs"])
            fitting = ["zh", "clothes"]  # in front of what is wrong, where there is room for it
            for kind, sent in enumerate((data, [*fitting, *data][: len(data)])[: 1 + (len(data) > len(fitting))]):
                session = f"fuzz-{event['id']}-{number}-{kind}"
                body = {"data": sent, "fn_index": event["id"], "session_hash": session}
                if event["queue"]:
                    post(f"{app}/gradio_api/queue/join", json.dumps(body))
                    answer = get(f"{app}/gradio_api/queue/data?session_hash={session}")
                    assert '"success":false' in answer or "plan wrong" in answer
                    assert '"error":null' not in answer
                else:
                    answer = post(f"{app}/gradio_api/run/predict", json.dumps(body))
                assert "Traceback" not in answer
    assert client.predict(checkpoint="clothes", num_inference_steps=1, api_name="/generate")


def test_the_page_can_be_installed_as_an_app(app):
    manifest = json.loads(get(f"{app}/manifest.json"))
    assert manifest["name"] == "DDPM Lab" and manifest["display"] == "standalone"
    for icon in manifest["icons"]:
        with urllib.request.urlopen(f"{app}{icon['src']}", timeout=20) as answer:
            picture = Image.open(BytesIO(answer.read()))
        assert f"{picture.width}x{picture.height}" == icon["sizes"]


@pytest.mark.parametrize("path", ["checkpoints/x/README.md", "app.py", "app/page.py", ".git/config", "README.md"])
def test_source_is_not_served(app, path):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{app}/gradio_api/file={REPOSITORY / path}", timeout=20)
    assert caught.value.code in (403, 404)


@pytest.mark.parametrize(
    ("endpoint", "body", "status", "said"),
    [
        ("v2/generate", {"checkpoint": "clothes", "steps": 3}, 422, "steps: /generate has no such parameter"),
        ("v2/compare", {"a": {}, "b": {}, "c": {}}, 422, "c: /compare has no such parameter; it has a, b"),
        ("v2/bound", {}, 422, "checkpoint: /bound needs a value"),
        ("v2/txt2img", {"prompt": "a cat"}, 404, "/txt2img: there is no such endpoint; there are /generate"),
        ("txt2img", {"data": []}, 404, "/txt2img: there is no such endpoint"),
    ],
)
def test_a_call_that_fits_no_endpoint_is_refused_with_words(app, endpoint, body, status, said):
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(f"{app}/gradio_api/call/{endpoint}", json.dumps(body))
    assert caught.value.code == status
    assert json.load(caught.value)["error"].startswith(said)


def test_the_queue_is_the_only_door(app):
    with pytest.raises(urllib.error.HTTPError):
        post(f"{app}/gradio_api/run/generate", '{"data": ["clothes"]}')


def test_an_own_limit(checkpoints, tmp_path):
    with running_app(checkpoints, tmp_path, "--max-cost", "10") as address:
        client = client_of(address)
        assert client.predict(checkpoint="clothes", num_inference_steps=10, api_name="/generate")
        with pytest.raises(Exception, match=r"11.*10"):
            client.predict(checkpoint="clothes", num_inference_steps=11, api_name="/generate")


def test_wrong_flags_end_in_a_sentence():
    command = [sys.executable, "app.py", "--max-cost", "-3"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "--max-cost: must be a whole number" in result.stderr and "Traceback" not in result.stderr
