"""Random input to every endpoint and event gets a sentence or a result as its answer, and the server keeps running."""

import json
import math
import re
import urllib.error
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.maths.book import CHAPTERS
from tests.app.api.test_endpoint import get, post
from tests.app.running import client_of

FIELDS = (
    "checkpoint", "sampler", "num_inference_steps", "seed", "num_images", "class_label", "guidance_scale", "eta",
    "reverse_variance", "timestep_spacing", "clip_sample", "start_step", "beta_schedule", "beta_start", "beta_end",
    "conditioning",
)  # fmt: skip
SENSIBLE = ["clothes", "faces", "ddpm", "ddim", "naive", "beta", "linear", "squaredcos_cap_v2", 0, 1, 2, 3, 0.5, 1e-3]
SCALARS = st.one_of(
    st.sampled_from(SENSIBLE),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["../../etc/passwd", "\x00", "<script>", "🦊" * 500, "1e999", "NaN", -0.0, 10**400, "x" * 10_000]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
)
# A few sensible fields with one that is anything: most of what is drawn gets past the first check
RUN = st.builds(
    lambda fields, field, value: {"checkpoint": "clothes", "num_inference_steps": 2} | fields | {field: value},
    st.dictionaries(st.sampled_from(["num_images", "class_label", "seed"]), st.sampled_from([1, 2]), max_size=2),
    st.sampled_from(FIELDS),
    ANYTHING,
)
AGAIN = settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
sessions = count()


@pytest.fixture(scope="module")
def client(app):
    return client_of(app)


def answered(ask: Callable[[], str]) -> str:
    """The text of an answer, of a refusal too; a crash fails the test."""
    try:
        return ask()
    except urllib.error.HTTPError as error:
        assert error.code < 500, error.read().decode()[:500]
        return error.read().decode()


def check(answer: str) -> None:
    assert "Traceback" not in answer and "Internal Server Error" not in answer
    assert not re.search(r":\s*-?(NaN|Infinity)\b", answer)


def ask(app: str, endpoint: str, body: dict) -> str:
    """What a public endpoint answers, in the end."""
    answer = answered(lambda: post(f"{app}/gradio_api/call/v2/{endpoint}", json.dumps(body)))
    started = json.loads(answer)
    if "event_id" not in started:  # refused at the door
        return answer
    return get(f"{app}/gradio_api/call/{endpoint}/{started['event_id']}")


@pytest.fixture(autouse=True)
def goes_on(client):
    """After each test, whichever ran before it, the server still draws and plans."""
    yield
    images, run = client.predict(checkpoint="clothes", num_inference_steps=1, api_name="/generate")
    assert len(images) == 1 and run["evaluations"] == 1
    plan = client.predict(checkpoint="clothes", num_inference_steps=5, api_name="/schedule")
    assert math.isfinite(plan["signal_left"])


@AGAIN
@given(run=RUN)
def test_generate(app, run):
    check(ask(app, "generate", run))


@AGAIN
@given(run=RUN)
def test_schedule(app, run):
    known = {"sampler", "seed", "num_images", "class_label", "guidance_scale", "eta", "reverse_variance", "clip_sample"}
    check(ask(app, "schedule", {name: value for name, value in run.items() if name not in known}))


@AGAIN
@given(a=st.one_of(RUN, ANYTHING), b=st.one_of(RUN, ANYTHING))
def test_compare(app, a, b):
    check(ask(app, "compare", {"a": a, "b": b}))


@AGAIN
@given(
    name=st.sampled_from(["picture", "image", "class_label", "evaluations", "seed", "beta_start", "beta_end"]),
    value=ANYTHING,
)
def test_bound(app, name, value):
    check(ask(app, "bound", {"checkpoint": "clothes", name: value}))


@AGAIN
@given(field=st.sampled_from(FIELDS), values=ANYTHING, run=RUN)
def test_explore(app, field, values, run):
    check(ask(app, "explore", {"axes": {field: values}, "settings": {"checkpoint": "clothes"}}))
    check(ask(app, "explore", {"axes": {"seed": [0, 1]}, "settings": run}))
    check(ask(app, "explore", {"axes": values, "settings": run}))


@settings(AGAIN, max_examples=8)
@given(name=st.sampled_from(["num_inference_steps", "eta", "samples"]), value=ANYTHING, run=RUN)
def test_frontier(app, name, value, run):
    few = {"num_inference_steps": [1], "eta": [0], "samples": 20}
    check(ask(app, "frontier", {"settings": {"checkpoint": "clothes"}, **few, name: value}))
    check(ask(app, "frontier", {"settings": run, **few}))


def draw_and_send(app: str, data, config: dict, session: str) -> None:
    """Send one of the page's events anything in some places, and look at the answer."""
    events = [event for event in config["dependencies"] if event["backend_fn"] and event["inputs"]]
    event = data.draw(st.sampled_from(events), label="event")
    defaults = {one["id"]: one["props"].get("value") for one in config["components"]}
    sent = [defaults.get(number) for number in event["inputs"]]
    for _ in range(data.draw(st.integers(1, 3), label="how many")):
        sent[data.draw(st.integers(0, len(sent) - 1), label="place")] = data.draw(ANYTHING, label="value")
    body = json.dumps({"data": sent, "fn_index": event["id"], "session_hash": session})
    if not event["queue"]:
        check(answered(lambda: post(f"{app}/gradio_api/run/predict", body)))
        return
    joined = answered(lambda: post(f"{app}/gradio_api/queue/join", body))
    check(joined)
    if "event_id" not in json.loads(joined):  # refused at the door: NaN is no JSON
        return
    check(get(f"{app}/gradio_api/queue/data?session_hash={session}"))


@settings(AGAIN, max_examples=120)
@given(data=st.data())
def test_private_events(app, data):
    draw_and_send(app, data, json.loads(get(f"{app}/config")), f"fuzz-drawn-{next(sessions)}")


def opened_chapter(app: str, chapter: str, session: str) -> dict:
    """Components and events of a chapter that a visitor opens, as the page gets them."""
    config = json.loads(get(f"{app}/config"))
    chapters = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "chapters")
    turn = next(one for one in config["dependencies"] if [chapters, "input"] in one["targets"])
    changes = [[[number, "change"]] for number in turn["outputs"]]
    draw = next(one for one in config["dependencies"] if one["targets"] in changes)
    defaults = {one["id"]: one["props"].get("value") for one in config["components"]}
    checkpoint = turn["inputs"][1]  # after the language; without the page's opening, none is chosen
    values = [{chapters: chapter, checkpoint: "clothes"}.get(number, defaults[number]) for number in turn["inputs"]]
    for event, sent in ((turn, values), (draw, [None, None])):
        body = {"data": sent, "fn_index": event["id"], "session_hash": session}
        answer = json.loads(post(f"{app}/gradio_api/run/predict", json.dumps(body)))
    return answer["render_config"]


@settings(AGAIN, max_examples=60)
@given(data=st.data())
def test_events_of_chapters(app, data):
    session = f"fuzz-chapter-{next(sessions)}"
    chapter = data.draw(st.sampled_from([chapter.name for chapter in CHAPTERS]), label="chapter")
    draw_and_send(app, data, opened_chapter(app, chapter, session), session)
