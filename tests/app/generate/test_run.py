"""Runs in the network's thread, and the pictures made from them."""

import base64
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.generate import render as views
from app.generate.run import run_steps, watch_run
from app.server.network import in_cpu_thread, stream
from app.ui.html import NARROW, WIDE, best_columns, notice, plan_line
from app.ui.images import as_saved, enlarged, picture, png, sheet, square_columns, tiles_of, together
from app.ui.progress import WorkStep, paced
from diffusion.denoisers import Description
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import KEYWORD, Recipe, compare, pixels_sha256, read_png

MADE_BY = Description("network", engine="torch", threads=1, precision="float32", checkpoint_sha256="a" * 64)


@pytest.fixture(scope="module")
def pipeline(catalogue):
    return catalogue.pipeline("clothes")


class Images(HTMLParser):
    """The pictures and links of a piece of HTML."""

    def __init__(self, html: str):
        super().__init__()
        self.found = {"img": [], "a": []}
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag in self.found:
            self.found[tag].append(dict(attributes))


def watch(pipeline, settings, *more, **how):
    """A run of these settings, in the network's thread."""
    return watch_run(pipeline, pipeline.plan(settings), *more, **how)


def opened(address: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,"))))


def test_the_last_moment_is_what_the_pipeline_makes(pipeline):
    settings = SamplingSettings(checkpoint="clothes", num_inference_steps=7, num_images=3, sampler="ddpm", seed=5)
    *_, last = watch(pipeline, settings)
    assert (last.state, last.done, last.total, last.content.is_finite) == ("done", 7, 7, True)
    expected = np.stack([np.asarray(image) for image in pipeline(settings).images])[..., None]
    assert np.array_equal(last.content.x_t, expected)


def test_moments_are_rare(pipeline):
    settings = SamplingSettings(num_inference_steps=40)
    assert [progress.done for progress in watch(pipeline, settings, every_seconds=1000)] == [1, 40]
    assert len(list(watch(pipeline, settings, every_seconds=0))) >= 2


def test_stop_ends_within_a_step_and_keeps_what_is_there(pipeline):
    settings = SamplingSettings(num_inference_steps=1000)
    seen = 0

    def is_stopped():
        nonlocal seen
        seen += 1
        return seen == 5

    *_, last = watch(pipeline, settings, is_stopped)
    assert (last.state, last.done) == ("stopped", 5)
    assert last.content.x_0_hat.shape == (1, 8, 8, 1)


def test_a_closed_run_frees_the_network(catalogue, pipeline):
    left, calls = catalogue.pipeline("slow"), []
    watched = left.unet.register_forward_pre_hook(lambda *_: calls.append(1))
    slow = watch(left, SamplingSettings(num_inference_steps=1000, num_images=16))
    next(slow)
    slow.close()
    made = len(calls)
    assert [progress.state for progress in watch(pipeline, SamplingSettings(num_inference_steps=1))] == ["done"]
    watched.remove()
    assert len(calls) == made < 1000


def test_an_error_in_a_run_arrives(pipeline):
    def broken():
        yield from run_steps(pipeline, pipeline.plan(SamplingSettings(num_inference_steps=2)))
        raise ZeroDivisionError

    def steps():
        return (WorkStep(step.done, 3, step.make) for step in broken())

    with pytest.raises(ZeroDivisionError):
        list(stream(steps, lambda: False, 0.0))
    assert len(list(watch(pipeline, SamplingSettings(num_inference_steps=1)))) == 1


def test_numbers_that_overflow_are_said_and_are_no_nan(catalogue, pipeline, monkeypatch):
    monkeypatch.setattr(pipeline.unet.conv_out.bias, "data", pipeline.unet.conv_out.bias.data + 1e38)
    settings = SamplingSettings(num_inference_steps=20, clip_sample=False)
    *_, last = watch(pipeline, settings)
    assert not last.content.is_finite
    html = views.finished(last, pipeline.plan(settings), catalogue.checkpoint("clothes"), MADE_BY)
    assert "outgrew" in html


def test_saved_pictures_carry_their_settings(catalogue, pipeline):
    settings = SamplingSettings(
        checkpoint="clothes", num_inference_steps=3, num_images=3, class_label=(0, 1, 2), seed=9
    )
    *_, last = watch(pipeline, settings)
    html = views.finished(last, pipeline.plan(settings), catalogue.checkpoint("clothes"), MADE_BY)
    found = Images(html).found
    assert len(found["img"]) == 3 and len(found["a"]) == 4
    for number, (image, link) in enumerate(zip(found["img"], found["a"], strict=False)):
        saved = opened(link["href"])
        assert saved.format == "PNG" and link["download"].endswith(".png")
        recipe = Recipe.from_json(saved.text[KEYWORD])
        own = recipe.settings
        assert recipe.checkpoint_sha256 == MADE_BY.checkpoint_sha256 and recipe.batch == 3
        assert recipe.pixels_sha256 == pixels_sha256(last.content.x_t[number : number + 1])
        assert own == settings.part(number, number + 1) and own.seed == 9 + number
        small = np.asarray(saved.resize((8, 8), Image.Resampling.NEAREST))
        assert np.array_equal(small, last.content.x_t[number, ..., 0])
        assert np.array_equal(np.asarray(pipeline(own).images[0]), small) or own.num_images == 1
        assert image["alt"]
    content = base64.b64decode(found["a"][3]["href"].partition(",")[2])
    recipe, sheet_of_all = read_png(content)
    assert recipe.settings == settings and recipe.pixels_sha256 == pixels_sha256(last.content.x_t)
    assert compare(*as_saved(last.content.x_t, sheet_of_all))[0] == "identical"
    assert compare(*as_saved(255 - last.content.x_t, sheet_of_all))[0] == "different"


def test_a_stopped_guess_carries_no_settings(catalogue, pipeline):
    settings = SamplingSettings(checkpoint="clothes", num_inference_steps=30)
    *_, last = watch(pipeline, settings, lambda: True)
    html = views.finished(last, pipeline.plan(settings), catalogue.checkpoint("clothes"), MADE_BY)
    for link in Images(html).found["a"]:
        assert KEYWORD not in opened(link["href"]).text


def test_previews_have_a_limit(pipeline):
    settings = SamplingSettings(num_inference_steps=2, num_images=4)
    progress = next(watch(pipeline, settings))
    large = np.zeros((64, 128, 128, 3), dtype=np.uint8)
    object.__setattr__(progress.content, "x_t", large)
    shown = opened(Images(views.running(progress)).found["img"][0]["src"])
    assert shown.width * shown.height <= 2**16 * 1.1


def test_sheets_and_tiles_are_each_others_inverse():
    pixels = np.random.default_rng(1).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    together = np.asarray(sheet(pixels, 4))
    assert together.shape == (26, 35, 4)
    assert np.array_equal(together[9:17, 18:26, :3], pixels[6])
    assert not together[8].any()
    white = np.full((18, 38, 3), 255, dtype=np.uint8)
    for number in range(8):
        top, left = number // 4 * 10, number % 4 * 10
        white[top : top + 8, left : left + 8] = pixels[number]
    for scale in (1, 2, 5):
        image = Image.fromarray(white)
        tiles, columns = tiles_of(image.resize((38 * scale, 18 * scale), Image.Resampling.NEAREST), 8)
        assert columns == 4 and np.array_equal(tiles, pixels[:8])
    assert tiles_of(Image.new("L", (37, 19)), 8) is None


def test_pngs_hold_the_very_pixels():
    for channels in (1, 3):
        pixels = np.random.default_rng(2).integers(0, 256, (8, 8, channels), dtype=np.uint8)
        image = picture(pixels)
        recipe = Recipe.of(SamplingSettings(), pixels[None], 1, MADE_BY)
        found, again = read_png(png(image, recipe))
        assert np.array_equal(np.asarray(again), np.asarray(image)) and found == recipe
        assert np.array_equal(np.asarray(together(pixels[None])), np.asarray(image))
        large = np.asarray(enlarged(image, 50))
        assert large.shape[:2] == (48, 48)
        assert np.array_equal(large[::6, ::6], np.asarray(image))


@pytest.mark.parametrize("count", range(1, 65))
def test_grids_fit_the_stage(count):
    columns = square_columns(count)
    assert columns * columns >= count > (columns - 1) ** 2
    for ratio in (WIDE, NARROW):
        columns, width = best_columns(count, ratio)
        rows = -(-count // columns)
        assert 0 < width <= 100 + 1e-9
        assert rows * width / columns <= 100 / ratio + 1e-9


def test_what_a_visitor_typed_is_no_html():
    assert "<b>" not in plan_line("<b>x</b>", is_error=True)
    assert "<b>" not in notice({"en": "<b>"}, {"en": "<b>"})
    assert "<b>" not in views.broken({"en": "<b>"})


def test_work_that_breaks_off_is_an_error_and_no_wait_for_ever():
    with pytest.raises(RuntimeError, match="before its last step"):
        list(stream(lambda: iter(()), lambda: False, 0.0))


def test_every_result_is_shown_and_nothing_else_in_between():
    made = []

    def steps():
        for done in range(1, 8):
            yield WorkStep(
                done, 7, lambda is_last, done=done: made.append((done, is_last)) or done, done == 4, 9.0 / done
            )

    shown = list(paced(steps(), lambda: False, 1000))
    assert [(one.state, one.done, one.total, one.content) for one in shown] == [
        ("running", 1, 7, 1), ("running", 4, 7, 4), ("done", 7, 7, 7),
    ]  # fmt: skip
    assert made == [(1, False), (4, False), (7, True)]
    assert [one.seconds_left for one in shown] == [9.0, 2.25, 9.0 / 7]


def test_the_time_left_is_as_if_each_unit_took_as_long_as_those_before():
    *_, last = paced((WorkStep(done, 8, lambda _: None) for done in (2, 6)), lambda: False, 0.0)
    assert last.state == "running" and last.seconds_left == pytest.approx(last.seconds / 3)
    (nothing,) = paced([WorkStep(0, 0, lambda _: "known")], lambda: False, 0.0)
    assert (nothing.state, nothing.seconds_left, nothing.content) == ("done", 0.0, "known")


def test_the_cpu_thread_answers_one_after_the_other_and_turns_nobody_away_for_long():
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda n: in_cpu_thread(lambda: n * n), range(30))) == [n * n for n in range(30)]
    with pytest.raises(ZeroDivisionError):
        in_cpu_thread(lambda: 1 / 0)
