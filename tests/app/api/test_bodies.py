"""Malformed bodies: a refusal that says what is wrong, never a 500, and nothing in the server's log."""

import json
import urllib.error
import urllib.request

import gradio as gr
import pytest

from app.api.bodies import MAX_BODY, BadBody, check_body
from tests.app.api.test_endpoint import get

NO_EVENT = 10**6


@pytest.fixture(scope="module")
def blocks():
    """A server of one event with two inputs and a state, one that runs in the browser, and an endpoint."""
    with gr.Blocks() as blocks:
        one, two, state, button = gr.Textbox(), gr.Number(), gr.State(), gr.Button()
        button.click(lambda *sent: None, [one, two, state], api_name=False)
        button.click(None, [one], js="() => 1", api_name=False)
        button.click(lambda text: text, [one], [two], api_name="endpoint")
    return blocks


def body(**fields) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "sent, route, said",
    [
        (b"", "queue/join", "the body must be JSON"),
        (b"{", "queue/join", "the body must be JSON"),
        (b"\xff\xfe", "endpoint", "the body must be JSON"),
        (b"[" * 100_000, "endpoint", "the body must be JSON"),
        (b'{"data": [NaN]}', None, "the body must be JSON"),
        (b'{"data": [-Infinity]}', "endpoint", "the body must be JSON"),
        (b"[1]", "queue/join", "the body must be a JSON object"),
        (b"null", None, "the body must be a JSON object"),
        (body(data=[]), "queue/join", "fn_index: there is no such event"),
        (body(data=[], fn_index=NO_EVENT), "queue/join", "fn_index: there is no such event"),
        (body(data=[], fn_index="0"), "predict", "fn_index: there is no such event"),
        (body(data=[], fn_index=True), "predict", "fn_index: there is no such event"),
        (body(data=[1], fn_index=1), "queue/join", "fn_index: this event runs in the browser"),
        (body(fn_index=0), "queue/join", "data: must be a list"),
        (body(data={}, fn_index=0), "predict", "data: must be a list"),
        (body(data=None), "endpoint", "data: must be a list"),
        (body(data=[1], fn_index=0), "queue/join", "data: must have 3 values, got 1"),
        (body(data=[1, 2, 3, 4], fn_index=0), "queue/join", "data: must have 3 values, got 4"),
        (body(data=[]), "endpoint", "data: must have 1 values, got 0"),
        (body(data=[]), "predict", "fn_index: there is no such event"),
        (body(data=["a", 1, None], fn_index=0, session_hash={}), "queue/join", "session_hash: must be a text"),
    ],
    ids=ascii,
)
def test_what_no_event_takes_is_refused(blocks, sent, route, said):
    with pytest.raises(BadBody) as caught:
        check_body(sent, route, lambda session: blocks.fns, may_be_unknown=route == "endpoint")
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "sent, route",
    [
        (body(data=["a", 1, None], fn_index=0, session_hash="x"), "queue/join"),
        (body(data=["a", 1], fn_index=0, session_hash=None), "queue/join"),  # states may be left out
        (body(data=["a"]), "endpoint"),
        (body(text="a"), "endpoint"),  # /call's other form
        (body(data=[]), "nobody"),  # Gradio answers
        (body(event_id="x"), None),
    ],
    ids=ascii,
)
def test_what_an_event_takes_passes(blocks, sent, route):
    check_body(sent, route, lambda session: blocks.fns, may_be_unknown=True)


def post(address: str, content: bytes) -> tuple[int, str]:
    request = urllib.request.Request(address, content, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


ROUTES = ("queue/join", "run/predict", "run/generate", "api/generate", "call/generate", "call/bound", "reset", "cancel")
BODIES = [
    b"", b"{", b"[1,", b"\xff", b"null", b'{"data": [NaN]}', b'{"data":' + b"[" * 50_000, body(data=None),
    body(data={}), body(data=[[[[{}]]]]), body(data=[None] * 200, fn_index=0), body(data=[], fn_index=NO_EVENT),
    body(data=[[[[{}]]]], fn_index=0, session_hash=None), body(data=[], fn_index=0, event_data="x", trigger_id="y"),
]  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
def test_the_server_answers_each_with_a_refusal(app, route):
    for content in BODIES:
        status, said = post(f"{app}/gradio_api/{route}", content)
        assert status in (400, 404, 422), (content[:60], status, said)
        assert "Traceback" not in said and said


def test_a_body_beyond_the_limit_is_not_read_to_its_end(app):
    status, said = post(f"{app}/gradio_api/call/generate", b" " * (MAX_BODY + 1))
    assert status == 413 and "at most 24 MB" in said


def test_no_event_of_the_page_answers_nonsense_with_a_500(app):
    config = json.loads(get(f"{app}/config"))
    events = [event["id"] for event in config["dependencies"] if event["backend_fn"]]
    assert len(events) > 50
    for number in events[::7]:
        inputs = len(config["dependencies"][number]["inputs"])
        for data in ([], [None] * (inputs + 1), [[{}]] * (inputs + 2)):
            status, _ = post(f"{app}/gradio_api/run/predict", body(data=data, fn_index=number))
            assert status == 422
