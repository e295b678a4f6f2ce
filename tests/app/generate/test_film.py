"""The film of a run: the steps it shows, the content of its strips and animation, and that few films are kept."""

import base64
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont, ImageSequence

from app.generate import render as views
from app.generate.film import FRAMES, Frame, animation, frame_size, frame_steps, strip
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
    assert chosen[0] == 0 and chosen[-1] == steps and len(chosen) == min(steps + 1, FRAMES)
    gaps = np.diff(chosen)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_frames_are_the_steps_of_the_sampler(run):
    _, steps, last = run
    assert len(last.content.film) == FRAMES
    for frame in last.content.film[1:]:
        step = steps[frame.step - 1]
        assert frame.t == step.t
        for name, tensor in (("x_t", step.x_s), ("x_0_hat", step.x_0_hat), ("eps_hat", step.eps_hat / 2.5)):
            grey = np.round((np.clip(tensor.numpy().astype(np.float64), -1, 1) + 1) * 127.5)
            shown = getattr(frame, name).transpose(0, 3, 1, 2)
            assert np.abs(shown - grey).max() <= 1 and (shown != grey).mean() < 0.01  # float32 may tie the other way


def test_the_film_begins_with_the_noise_itself(run):
    """Independent of the sampler: image i's x_T is the first draw of torch's generator seeded seed + i."""
    settings, _, last = run
    first, second, *_ = last.content.film
    assert (first.step, first.caption, first.x_0_hat, first.eps_hat) == (0, "0 / 30 · x_T", None, None)
    for number, shown in enumerate(first.x_t):
        noise = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(settings.seed + number))
        assert np.abs(shown.transpose(2, 0, 1) - (noise.clamp(-1, 1).numpy() + 1) * 127.5).max() <= 0.51
    assert second.caption == f"1 / 30 · t = {second.t}" and second.t == 99


def test_a_run_of_one_step_is_a_film_of_two_frames(pipeline):
    *_, last = watch_run(pipeline, pipeline.plan(SamplingSettings(num_inference_steps=1)))
    frames = list(last.content.film)
    assert [frame.caption for frame in frames] == ["0 / 1 · x_T", "1 / 1 · t = 99"]
    assert Image.open(BytesIO(animation(frames))).n_frames == 2
    html = views.film_of(last)
    assert 'max="1" value="1"' in html and "--frames:2;--last:1" in html


def test_a_stopped_run_has_the_film_of_what_it_did(pipeline):
    settings, seen = SamplingSettings(num_inference_steps=100), []
    *_, last = watch_run(pipeline, pipeline.plan(settings), lambda: len(seen) >= 59 or seen.append(0) or False)
    assert last.state == "stopped" and last.content.film[-1].step == last.done == 60
    assert last.content.film[0].caption == "0 / 100 · x_T" and last.content.film[-1].caption == "60 / 100 · t = 40"


def test_strips_hold_all_frames_below_each_other(run):
    frames = list(run[2].content.film)
    width, height = frame_size(frames)
    for kind in ("x_t", "x_0_hat", "eps_hat"):
        image = Image.open(BytesIO(base64.b64decode(strip(frames, kind).partition(",")[2])))
        assert image.size == (width, height * FRAMES)
        for number, frame in enumerate(frames):  # side by side the strips show the same step
            shown = np.asarray(image)[number * height :][:8, :8]
            if number or kind == "x_t":
                assert np.array_equal(shown[..., :3], getattr(frame, kind)[0]) and (shown[..., 3] == 255).all()
            else:
                assert not shown[..., 3].any()  # before the first call there is no guess to show


def test_the_animation_plays_every_frame_and_repeats(run):
    frames = list(run[2].content.film)
    image = Image.open(BytesIO(animation(frames)))
    assert image.format == "GIF" and image.n_frames == FRAMES and image.info["loop"] == 0
    assert image.width > 400
    shown = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(image)]
    factor = image.width // (2 * frame_size(frames)[0] + max(2, frame_size(frames)[0] // 40))
    corner = shown[0][: 8 * factor : factor, : 8 * factor : factor]
    assert np.abs(corner - frames[0].x_t[0].astype(int)).mean() < 12  # a GIF has 256 colours


def is_written(said: str, size: int, pixels: np.ndarray) -> bool:
    """Whether these pixels are the text at this size, cut to its dark parts."""
    drawn = Image.new("L", (400, 60), 250)
    ImageDraw.Draw(drawn).text((5, 5), said, 26, ImageFont.load_default(size))
    drawn = np.asarray(drawn).astype(int)
    (top, left), (bottom, right) = np.argwhere(drawn < 128).min(0), np.argwhere(drawn < 128).max(0)
    drawn = drawn[top : bottom + 1, left : right + 1]
    return drawn.shape == pixels.shape and bool(np.abs(drawn - pixels).mean() < 8)


@pytest.mark.parametrize("side", [8, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_animation_says_its_steps_below_the_pictures(side, channels):
    """A band of paper, with nothing but the caption in it, in letters that are drawn anew here."""
    grey = np.full((1, side, side, channels), 128, dtype=np.uint8)
    frames = [Frame(0, 50, None, grey), Frame(8, 50, 859, grey, grey, grey), Frame(50, 50, 19, grey, grey, grey)]
    image = Image.open(BytesIO(animation(frames)))
    shown = [np.asarray(frame.convert("L")).astype(int) for frame in ImageSequence.Iterator(image)]
    band = shown[0].shape[0] - shown[0].shape[1] // (2 * side + max(2, side // 40)) * side
    for pixels, said in zip(shown, ("0 / 50 · x_T", "8 / 50 · t = 859", "50 / 50 · t = 19"), strict=True):
        dark = np.argwhere(pixels[-band:] < 128)
        (top, left), (bottom, right) = dark.min(0), dark.max(0)
        assert 8 < bottom - top < band and left > 0 and right < image.width / 2  # legible, and whole
        cut = pixels[-band:][top : bottom + 1, left : right + 1]
        assert any(is_written(said, size, cut) for size in range(12, 30)), said
    assert not np.array_equal(shown[1][-band:], shown[2][-band:])


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
    Found().feed(views.film_of(last))
    (slider,) = found["input"]
    assert slider["max"] == str(FRAMES - 1) and slider["aria-valuetext"] == "30 / 30 · t = 2"
    assert len([one for one in found["div"] if one.get("role") == "img" and one["aria-label"]]) == 3
    assert settings.num_inference_steps == last.total
