"""The film of a run: the steps it shows, the content of its strips and animation, and that few films are kept."""

import base64
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageSequence

from app.generate import render as views
from app.generate.film import FRAMES, animation, frame_size, frame_steps, strip
from app.generate.run import watch_run
from app.server.sessions import BySession
from app.ui.images import full_columns
from diffusion.settings import SamplingSettings


@pytest.fixture(scope="module")
def pipeline(catalogue):
    return catalogue.pipeline("faces")


@pytest.fixture(scope="module")
def run(pipeline):
    """The settings of a run, its steps and how it ended."""
    settings = SamplingSettings(num_inference_steps=30, num_images=5, seed=3)
    *_, last = watch_run(pipeline, pipeline.plan(settings))
    return settings, list(pipeline.steps(settings)), last


@pytest.mark.parametrize("steps", [1, 2, 23, 24, 25, 50, 999, 1000])
def test_frames_are_even_and_hold_both_ends(steps):
    chosen = sorted(frame_steps(steps))
    assert chosen[0] == 1 and chosen[-1] == steps and len(chosen) == min(steps, FRAMES)
    gaps = np.diff(chosen)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_frames_are_the_steps_of_the_sampler(run):
    _, steps, last = run
    assert len(last.content.film) == FRAMES
    for frame in last.content.film:
        step = steps[frame.step - 1]
        assert frame.t == step.t
        for name, tensor in (("x_t", step.x_s), ("x_0_hat", step.x_0_hat), ("eps_hat", step.eps_hat / 2.5)):
            grey = np.round((np.clip(tensor.numpy().astype(np.float64), -1, 1) + 1) * 127.5)
            shown = getattr(frame, name).transpose(0, 3, 1, 2)
            assert np.abs(shown - grey).max() <= 1 and (shown != grey).mean() < 0.01  # float32 may tie the other way


def test_a_stopped_run_has_the_film_of_what_it_did(pipeline):
    settings, seen = SamplingSettings(num_inference_steps=100), []
    *_, last = watch_run(pipeline, pipeline.plan(settings), lambda: len(seen) >= 59 or seen.append(0) or False)
    assert last.state == "stopped" and last.content.film[-1].step == last.done == 60 and last.content.film[0].step == 1


def test_strips_hold_all_frames_below_each_other(run):
    frames = list(run[2].content.film)
    width, height = frame_size(frames)
    image = Image.open(BytesIO(base64.b64decode(strip(frames, "x_t").partition(",")[2])))
    assert image.size == (width, height * FRAMES)
    first = np.asarray(image.convert("RGB"))[:8, :8]
    assert np.array_equal(first, frames[0].x_t[0])


def test_the_animation_plays_every_frame_and_repeats(run):
    frames = list(run[2].content.film)
    image = Image.open(BytesIO(animation(frames)))
    assert image.format == "GIF" and image.n_frames == FRAMES and image.info["loop"] == 0
    assert image.width > 400
    shown = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(image)]
    factor = image.width // (2 * frame_size(frames)[0] + max(2, frame_size(frames)[0] // 40))
    corner = shown[0][: 8 * factor : factor, : 8 * factor : factor]
    assert np.abs(corner - frames[0].x_t[0].astype(int)).mean() < 12  # a GIF has 256 colours


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (5, 5), (9, 3), (18, 6), (64, 8)])
def test_sheets_have_few_empty_places(count, columns):
    assert full_columns(count) == columns


def test_films_are_of_one_visitor_and_the_oldest_are_forgotten(run):
    frames, films = list(run[2].content.film), BySession(size=2)
    for session in ("a", "b", "a", "c"):
        films.keep(session, frames[:1] if session == "c" else frames)
    assert films.of("b") is None and len(films.of("a")) == FRAMES and len(films.of("c")) == 1
    assert films.of("nobody") is None
    films.drop("a")
    assert films.of("a") is None and films.own("c", list) and films.own("d", list) == []


def test_the_slider_goes_over_the_frames(run):
    settings, _, last = run

    class Found(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.setdefault(tag, []).append(dict(attributes))

    found: dict[str, list[dict]] = {}
    Found().feed(views.film_of(last, "en"))
    (slider,) = found["input"]
    assert slider["max"] == str(FRAMES - 1) and slider["aria-valuetext"] == "30 / 30 · t = 2"
    assert len([one for one in found["div"] if one.get("role") == "img" and one["aria-label"]]) == 3
    assert settings.num_inference_steps == last.total
