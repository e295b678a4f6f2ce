"""Explore: the moments of a grid, work that a visitor need not wait for, and the sentences and files of the tab."""

import base64
import csv
import io
import json
import re
from urllib.parse import unquote

import altair
import numpy as np
import pytest
import torch
from PIL import Image

from app.controls.values import controls_of
from app.explore import render as explore_views
from app.explore.files import grid_csv, labelled
from app.explore.frontier_plot import frontier_csv, frontier_plots
from app.explore.grids import (
    AXES,
    FRONTIER,
    GRID_PRESETS,
    example,
    frontier_of,
    grid_of,
    grid_preset_settings,
    preset_axes,
    presets_of,
    values_hint,
)
from app.explore.run import Found, Known, explore, known_run
from app.server.checkpoints import Catalogue
from app.server.limits import check_cost
from app.server.options import Options
from app.server.services import Services
from app.texts import LANGUAGES, texts
from app.texts.messages import explain
from app.ui.images import visible
from diffusion.errors import FieldError
from diffusion.experiments.axes import FIELDS, AxisError
from diffusion.experiments.frontier import Point
from diffusion.metrics.features import FeatureConfig, FeatureNetwork, FeatureSpace, save_feature_space
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import pixels_sha256, to_query
from tests.app.checkpoints import make_checkpoint

OPTIONS = Options()
STEPS, SAMPLER = "num_inference_steps", "sampler"


def own(*axes: tuple[str, str], **more) -> dict:
    """What the tab's own controls hold."""
    values = {"preset": "own"} | FRONTIER
    for k, name in enumerate(AXES):
        values[name], values[f"{name}_values"] = axes[k] if k < len(axes) else ("", "")
    return values | more


def run_values(catalogue, checkpoint="clothes", **fields) -> dict:
    """What the run's controls hold."""
    known = catalogue.checkpoint(checkpoint)
    settings = SamplingSettings(checkpoint=checkpoint, **{"num_images": 2} | fields)
    return controls_of(settings, known)


def small(catalogue, **fields):
    return grid_of(own((STEPS, "2, 5"), (SAMPLER, "ddpm, ddim")), run_values(catalogue, **fields), catalogue, OPTIONS)


def data(address: str) -> bytes:
    return base64.b64decode(address.partition(",")[2])


def table(address: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(unquote(address.partition(",")[2]))))


# Running -------------------------------------------------------------------------------------------------------------


def test_cells_stream_in_the_cheap_ones_first(catalogue):
    grid, seen = small(catalogue), []
    for progress in explore(grid.jobs, Known(), every_seconds=0):
        seen.append(progress)
    assert [progress.state for progress in seen[:-1]] == ["running"] * (len(seen) - 1) and seen[-1].state == "done"
    assert seen[-1].done == seen[-1].total == 14 and seen[-1].seconds_left == 0
    order = [key for progress in seen for key in progress.content.found]
    assert list(dict.fromkeys(order)) == [grid.jobs[k].key for k in (0, 2, 1, 3)]
    for cell, job in zip(grid.cells, grid.jobs, strict=True):
        steps = list(cell.pipeline.steps(cell.plan.settings))
        assert torch.equal(seen[-1].content.found[job.key].result, steps[-1].x_s)
        assert seen[-1].content.found[job.key].seconds > 0
    for progress in seen[:-1]:
        job, calls, guess = progress.content.current
        assert 0 < calls <= job.calls and guess.shape == (2, 8, 8, 1)


def test_what_is_known_does_not_run_again(catalogue):
    known = Known()
    *_, first = explore(small(catalogue).jobs, known)
    wider = grid_of(own((STEPS, "2, 5, 3"), (SAMPLER, "ddim, ddpm")), run_values(catalogue), catalogue, OPTIONS)
    *_, second = explore(wider.jobs, known)
    assert (second.total, len(second.content.found)) == (6, 6)
    assert all(second.content.found[key] is found for key, found in first.content.found.items())
    (third,) = explore(wider.jobs, known)
    assert (third.state, third.total, len(third.content.found)) == ("done", 0, 6)
    other = small(catalogue, seed=1)
    *_, fourth = explore(other.jobs, known)
    assert fourth.total == 14


def test_the_same_run_in_other_words_runs_once(catalogue):
    axes = own(("beta_end", "0.01, 0.02"), ("conditioning", "matched, naive"))
    grid = grid_of(axes, run_values(catalogue, num_inference_steps=3), catalogue, OPTIONS)
    *_, last = explore(grid.jobs, Known())
    assert (len(grid.jobs), len(last.content.found), last.total) == (4, 3, 9)


def test_a_cell_is_found_again_by_its_address_with_what_made_it(catalogue):
    services, known, grid = Services(OPTIONS, catalogue), Known(), small(catalogue)
    *_, last = explore(grid.jobs, known)
    for cell, job in zip(grid.cells, grid.jobs, strict=True):
        plan, found = known_run(services, known, to_query(cell.plan.settings))
        assert plan.settings == cell.plan.settings and found is last.content.found[job.key]
        assert found.made_by == cell.pipeline.denoiser(cell.plan).description
    other = cell.plan.settings.replace(seed=77)
    for query in (to_query(other), "", "checkpoint=nobody", "seed=abc", "x" * 100):
        assert known_run(services, known, query) is None
    assert known_run(services, None, to_query(cell.plan.settings)) is None  # of another visitor


def test_stop_keeps_what_is_there(catalogue):
    axes = own((STEPS, "2, 900"))
    grid, known, seen = grid_of(axes, run_values(catalogue), catalogue, OPTIONS), Known(), []
    *_, last = explore(grid.jobs, known, lambda: len(seen) > 20 or seen.append(0) or False)
    assert last.state == "stopped" and last.done == 22 and list(last.content.found) == [grid.jobs[0].key]
    assert list(known.of(grid.jobs)) == [grid.jobs[0].key]


def test_results_are_bounded_and_the_oldest_go(catalogue):
    jobs = small(catalogue).jobs
    known = Known(most_bytes=9000)
    for job in jobs:
        known.keep(job.key, Found(torch.zeros(1000), 1.0))  # 5,000 bytes each, with what goes with it
    assert list(known.of(jobs)) == [jobs[-1].key]
    known.keep("large", Found(torch.zeros(10_000), 1.0))
    assert known.of(jobs) == {}


def test_a_large_grid_keeps_all_its_own_cells(catalogue):
    jobs, known = small(catalogue).jobs, Known(most_bytes=9000)
    known.keep("of another grid", Found(torch.zeros(1000), 1.0))
    for job in jobs:
        known.keep(job.key, Found(torch.zeros(1000), 1.0), {one.key for one in jobs})
    assert set(known.of(jobs)) == {job.key for job in jobs} and len(known._found) == len(jobs)


def test_the_grid_costs_what_its_runs_cost(catalogue):
    grid = small(catalogue)
    check_cost(Options(max_cost=28), *grid.jobs)
    with pytest.raises(ValueError, match=r"Steps × pictures.*28.*27"):
        check_cost(Options(max_cost=27), *grid.jobs)


# From the controls to a grid -----------------------------------------------------------------------------------------


def test_every_checkpoint_of_an_axis_has_its_own_classes_and_betas(catalogue):
    values = run_values(catalogue, num_images=4, class_label=(0, 1, 2, 0), guidance_scale=2.0)
    assert values["class_choice"] == "mixed"
    grid = grid_of(own(("checkpoint", "clothes, faces, slow"), (STEPS, "2")), values, catalogue, OPTIONS)
    settings = [cell.plan.settings for cell in grid.cells]
    assert [one.checkpoint for one in settings] == ["clothes", "faces", "slow"]
    assert [one.class_label for one in settings] == [(0, 1, 2, 0), None, None]
    assert [one.guidance_scale for one in settings] == [2.0, 1.0, 1.0]
    assert all(cell.plan.on_trained_betas for cell in grid.cells)
    assert len({job.key for job in grid.jobs}) == 3


def test_classes_on_an_axis_keep_the_guidance_of_the_controls(catalogue):
    values = run_values(catalogue, num_images=1) | {"guidance_scale": 3.0}
    assert values["class_choice"] == "none"
    grid = grid_of(own(("class_label", "none, 0-2")), values, catalogue, OPTIONS)
    assert [(cell.plan.settings.class_label, cell.plan.settings.guidance_scale) for cell in grid.cells] == [
        (None, 1.0), (0, 3.0), (1, 3.0), (2, 3.0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("axes", "english", "chinese"),
    [
        (((STEPS, "4, 2000"),), "Across, value 2: Steps: must lie in [1, 1000], got 2000.", "X 轴（横向）的第 2 个值"),
        (((STEPS, "4"), (SAMPLER, "lms")), "Down, value 1: Sampler: must be one of", "Y 轴（纵向）的第 1 个值"),
        (((STEPS, "4, x"),), "Across, value 2: Steps: must be a whole number, got 'x'", "步数（迭代步数）：应是整数"),
        ((("eta", "0, 2"),), "value 2: η (eta): must be at most 1, got 2", "不能大于 1"),
        ((("beta_end", "0.02, 1"),), "value 2: β last (β_end): must be less than 1", "必须小于 1"),
        ((("beta_end", "0.00001"),), "value 1: β last (β_end): must lie in [0.0001, 1)", "应在 [0.0001, 1)"),
        ((("guidance_scale", "1, 101"),), "value 2: Guidance: must be at most 100", "引导强度（CFG）：不能大于 100"),
        ((("guidance_scale", "2"),), "Guidance: needs a class to guide to", "要先指定类别"),
        ((("class_label", "0-3"),), "What to draw: must lie in [0, 3), got 3", "画什么：应在 [0, 3)"),
        ((("seed", "-2"),), "Seed: must be at least 0", "种子：不能小于 0"),
        ((("seed", "-1"),), "Seed: -1 draws a random seed only in the seed field", "种子：-1 表示随机"),
        ((("checkpoint", "clothes, nobody"),), "Across, value 2: Checkpoint: there is none", "没有名叫 nobody"),
        ((("checkpoint", "broken"),), "value 1: broken: its pipeline is", "它的管线是"),
        (((STEPS, ""),), "Across: Steps: needs a value", "X 轴（横向）的取值：步数（迭代步数）：不能空着"),
        (((STEPS, "1-9[99]"),), "takes [2] to [20] values, got [99]", "可取 [2] 到 [20] 个值"),
        (((STEPS, "1-99"),), "over at most 20 whole numbers", "最多 20 个整数"),
        (((STEPS, "4, 4"),), "value 2: Steps: each value must stand there once", "重复了"),
        (((STEPS, "4"), (STEPS, "5")), "Down: Steps: is on another axis already", "已经在另一个轴上"),
        (((STEPS, "1-11"), ("seed", "0-10")), "Axes: a grid has at most 120 cells, got 121", "最多 120 格"),
        ((), "Axes: a grid has 1 to 3, got 0", "有 1 到 3 个轴"),
        ((("num_images", "1"),), "Across: Field: must be one of", "参数：只能是"),
        (((STEPS, 7),), "Across: Steps: must be a text.", "应是文字"),
        (((STEPS, "1" * 501),), "must be at most 500 characters long", "最多 500 个字符"),
    ],
)  # fmt: skip
def test_an_error_names_axis_place_field_and_range_in_both_languages(catalogue, axes, english, chinese):
    with pytest.raises(ValueError) as caught:
        grid_of(own(*axes), run_values(catalogue), catalogue, OPTIONS)
    assert english in explain(caught.value, "en")
    assert chinese in explain(caught.value, "zh")


@pytest.mark.parametrize("sent", [None, 3, [], {}, float("nan"), "x" * 600, [[1]], [None], {"a": 1}])
def test_whatever_a_browser_sends_ends_in_a_sentence(catalogue, sent):
    values = run_values(catalogue)
    for name in own():
        for change in ({name: sent}, {name: sent, "axis_1": STEPS}, {"axis_1": "seed", name: sent}):
            try:
                grid_of(own() | change, values, catalogue, OPTIONS)
                frontier_of(own() | change, values, catalogue, OPTIONS)
            except FieldError as error:
                assert all(explain(error, language) for language in LANGUAGES)


@pytest.mark.parametrize("checkpoint", ["clothes", "faces"])
def test_every_preset_and_every_example_is_a_grid(catalogue, checkpoint):
    known = catalogue.checkpoint(checkpoint)
    names = presets_of(known)
    assert names == (list(GRID_PRESETS) if checkpoint == "clothes" else ["steps", "solvers", "eta", "seeds"])
    for name in names:
        values = controls_of(grid_preset_settings(name, known, 4), known)
        grid = grid_of(own() | preset_axes(name), values, catalogue, OPTIONS)
        check_cost(Options(max_cost=1500), *grid.jobs)  # some seconds
        for language in LANGUAGES:
            assert texts(language)[f"grids.{name}.see"] and texts(language)[f"grids.{name}.title"]
    for field in FIELDS:
        assert all(values_hint(field, known, language) for language in LANGUAGES)
        is_meant = known.beta_start is not None or field not in ("beta_start", "beta_end")
        if is_meant and field != "guidance_scale" and (known.classes or field != "class_label"):
            grid_of(
                own((field, example(field, known, catalogue))), run_values(catalogue, checkpoint), catalogue, OPTIONS
            )


# What is shown and saved ---------------------------------------------------------------------------------------------


def run_whole(grid, stop_after: int | None = None):
    seen = []
    *_, last = explore(
        grid.jobs, Known(), lambda: stop_after is not None and (len(seen) >= stop_after or seen.append(0))
    )
    return last


def test_every_cell_shows_pictures_cost_and_the_way_to_its_settings(catalogue):
    grid = small(catalogue, class_label=(0, 1))
    last = run_whole(grid)
    html = explore_views.grid_html(grid, last.content.found, catalogue.checkpoint("clothes"))
    cells = re.findall(
        r'<a class="cell" href="\?([^"]+)"[^>]*>\s*<img src="([^"]+)"[^>]*><span class="facts">(.*?)</a>', html
    )
    assert len(cells) == 4
    for (query, address, facts), cell, job in zip(cells, grid.cells, grid.jobs, strict=True):
        assert f"{STEPS}={cell.plan.settings.num_inference_steps}" in query and "class_label=0%2C1" in query
        shown = np.asarray(Image.open(io.BytesIO(data(address))).convert("L"))
        assert np.array_equal(shown[:8, :8], visible(last.content.found[job.key].result)[0, ..., 0])
        assert f"{job.calls} calls" in facts and re.search(r"\d\.\d+ s", facts)
    assert html.count('<th scope="col">') == 2 and html.count('<th scope="row">') == 2
    assert '<span lang="zh">步数（迭代步数）</span>' in html and "DDPM" in html


def test_what_is_still_to_come_and_what_runs_is_shown_as_such(catalogue):
    grid = small(catalogue)
    moments = explore(grid.jobs, Known(), every_seconds=0)
    first = next(moments)
    html = explore_views.grid_html(grid, first.content.found, catalogue.checkpoint("clothes"), first.content.current)
    assert html.count("cell running") == 1 and html.count("cell waiting") == 3 and "1 / 2" in html
    moments.close()


def test_a_third_axis_is_a_table_for_each_of_its_values(catalogue):
    axes = own((STEPS, "2, 3"), (SAMPLER, "ddim"), ("class_label", "none, 1"))
    grid = grid_of(axes, run_values(catalogue, num_images=1), catalogue, OPTIONS)
    last = run_whole(grid)
    html = explore_views.grid_html(grid, last.content.found, catalogue.checkpoint("clothes"))
    assert html.count("<table>") == 2 and html.count("<h3>") == 2
    assert "no class" in html and "Trousers" in html and "裤子" in html
    assert (
        labelled(grid, last.content.found).height
        > 2 * labelled(small(catalogue), run_whole(small(catalogue)).content.found).height / 2
    )


def test_the_labelled_picture_holds_every_cell_enlarged(catalogue):
    grid = small(catalogue)
    last = run_whole(grid)
    image = np.asarray(labelled(grid, last.content.found).convert("L")).astype(int)
    for job in grid.jobs:
        pixels = visible(last.content.found[job.key].result)[0, ..., 0].astype(int)
        factor = 168 // 17
        large = np.kron(pixels, np.ones((factor, factor), dtype=int))
        windows = np.lib.stride_tricks.sliding_window_view(image[::1, ::1], large.shape)
        corners = np.argwhere(windows[:, :, 0, 0] == large[0, 0])
        assert any(np.array_equal(windows[y, x], large) for y, x in corners)
    assert Image.fromarray(image.astype(np.uint8)).getextrema()[1] > 200
    html = explore_views.outcome(grid, last.content.found)
    saved = Image.open(io.BytesIO(data(re.search(r'href="(data:image/png[^"]+)"', html)[1])))
    assert saved.size == labelled(grid, last.content.found).size
    assert explore_views.outcome(grid, {}) == ""


def test_the_csv_has_a_row_a_cell_and_empty_places_for_what_did_not_run(catalogue):
    axes = own(("seed", "4294967000, 3"), (STEPS, "2, 5"))
    grid = grid_of(axes, run_values(catalogue, num_images=1), catalogue, OPTIONS)
    last = run_whole(grid, stop_after=5)
    rows = table(grid_csv(grid, last.content.found))
    assert list(rows[0]) == ["seed", STEPS, "network_calls", "evaluations", "seconds", "pixels_sha256"]
    assert [(row["seed"], row[STEPS]) for row in rows] == [
        ("4294967000", "2"),
        ("3", "2"),
        ("4294967000", "5"),
        ("3", "5"),
    ]
    done = [row for row in rows if row["seconds"]]
    assert len(done) == 2
    for row, job in zip(rows[:2], grid.jobs[:2], strict=True):
        assert row["pixels_sha256"] == pixels_sha256(visible(last.content.found[job.key].result))


def test_the_plan_says_that_steps_are_many_runs_and_what_is_known(catalogue):
    grid = small(catalogue)
    for language, many in (("en", "not snapshots of one run"), ("zh", "不是同一次生成的中途截图")):
        said = explore_views.plan_sentence(grid, grid.jobs, 3.0, language)
        assert many in said and "14" in said and "28" in said and "3" in said.splitlines()[0]
    assert "2 of the cells are known" in explore_views.plan_sentence(grid, grid.jobs[:2], None, "en")
    assert "Known already (4 cells)" in explore_views.plan_sentence(grid, [], None, "en")
    other = grid_of(own((SAMPLER, "ddpm, ddim")), run_values(catalogue), catalogue, OPTIONS)
    assert "snapshots" not in explore_views.plan_sentence(other, other.jobs, None, "en")


# The frontier --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measurable(tmp_path_factory):
    """A checkpoint that brings a feature space."""
    folder = tmp_path_factory.mktemp("measurable")
    make_checkpoint(folder / "clothes", classes=3, num_train_timesteps=30)
    torch.manual_seed(0)
    network = FeatureNetwork(FeatureConfig(channels=1, image_size=8, classes=3, width=8, features=6)).eval()
    rng = np.random.default_rng(0)
    real, held_out = (torch.from_numpy(rng.standard_normal((50, 6))) for _ in range(2))
    save_feature_space(FeatureSpace(network, {}, real, held_out), folder / "clothes" / "reference")
    return Catalogue(folder)


def test_a_frontier_is_measured_from_the_controls(measurable):
    values = run_values(measurable, class_label=(0, 1))
    asked = own(frontier_steps="2, 4", frontier_etas="0, 1", frontier_samples=20.0)
    frontier = frontier_of(asked, values, measurable, OPTIONS)
    assert frontier.has_space and frontier.samples == 20
    *_, last = explore(frontier.jobs, Known())
    assert last.total == 2 + 4 + 30 + 2 + 4
    points = [
        one.point({key: found.result for key, found in last.content.found.items()}) for one in frontier.measurements
    ]
    assert [(one.eta, one.calls, one.measure, one.n) for one in points] == [
        (0, 2, "rms", 2), (0, 4, "rms", 2), (1, 2, "kid", 20), (1, 4, "kid", 20)
    ]  # fmt: skip
    html = explore_views.frontier_html(points)
    assert html.count("<tr>") == 5 and f"{points[0].value:.3g} ±" in html and "DDPM (η = 1)" in html
    rows = table(frontier_csv(points))
    assert [float(row["value"]) for row in rows] == pytest.approx([one.value for one in points], rel=1e-5)
    known_too = grid_of(own((STEPS, "2, 4")), values, measurable, OPTIONS)
    assert {job.key for job in known_too.jobs} <= set(last.content.found)  # the grid need not run what the frontier ran


def test_without_a_feature_space_the_plan_says_so(catalogue):
    frontier = frontier_of(own(), run_values(catalogue), catalogue, OPTIONS)
    assert {one.settings.effective_eta for one in frontier.measurements} == {0}
    for language, said in (("en", "no feature space"), ("zh", "没有自带特征空间")):
        assert said in explore_views.frontier_sentence(frontier, frontier.jobs, 2.0, language)


@pytest.mark.parametrize(
    ("change", "english", "chinese"),
    [
        ({"frontier_steps": "2, 0"}, "Steps to measure, value 2: Steps: must be at least 1", "要测的步数的第 2 个值"),
        ({"frontier_etas": "0, 3"}, "Samplers, by η or name, value 2: η (eta): must be at most 1", "不能大于 1"),
        ({"frontier_samples": 5}, "Samples for KID: must lie in [20, 2000], got 5", "KID 的样本数：应在 [20, 2000]"),
        ({"frontier_samples": None}, "Samples for KID: needs a value", "不能空着"),
    ],
)
def test_what_cannot_be_measured_is_said(measurable, change, english, chinese):
    with pytest.raises(ValueError) as caught:
        frontier_of(own(**change), run_values(measurable), measurable, OPTIONS)
    assert english in explain(caught.value, "en") and chinese in explain(caught.value, "zh")
    assert isinstance(caught.value, AxisError) == (change.keys() != {"frontier_samples"})


POINTS = [
    Point("ddim", 0.0, 2, "rms", 0.5, 0.1, 4), Point("ddim", 0.0, 10, "rms", 0.1, 0.02, 4),
    Point("ddim", 0.0, 1000, "rms", 0.0, 0.0, 4), Point("unipc", 0.0, 10, "rms", 0.04, 0.01, 4),
    Point("ddpm", 1.0, 2, "kid", 1.5, 0.2, 60), Point("ddpm", 1.0, 10, "kid", -0.1, 0.05, 60),
    Point("ddim", 0.5, 10, "kid", 0.03, 0.05, 60),
]  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_frontier_is_one_line_a_sampler_on_logarithmic_axes(language):
    charts = frontier_plots(POINTS, language)
    for chart in charts:
        altair.Chart.from_dict(json.loads(chart.plot.plot), validate=True)
        for layer in chart.spec["layer"]:
            assert layer["encoding"]["x"]["scale"]["type"] == layer["encoding"]["y"]["scale"]["type"] == "log"
            assert all(row["y"] > 0 and row.get("base", 1) > 0 for row in layer["data"]["values"])
    rms, kid = ({kind: [(row["x"], row["y"], row["name"], row.get("base")) for layer in chart.spec["layer"]
                        if layer["mark"]["type"] == kind for row in layer["data"]["values"]]
                 for kind in ("line", "rule", "point")} for chart in charts)  # fmt: skip
    assert [x for x, *_ in rms["line"]] == [2, 10, 10]  # the reference itself is at 0
    colors = charts[0].spec["layer"][0]["encoding"]["color"]["scale"]
    assert colors["domain"][1] == "UniPC" and len(colors["domain"]) == len(set(colors["range"])) == 2
    assert [x for x, *_ in kid["line"]] == [2]
    ((_, high, _, low),) = kid["rule"]
    assert (low, high) == pytest.approx((1.3, 1.7))
    assert sorted(y for _, y, *_ in kid["point"]) == pytest.approx([0.05, 0.08])  # below so much
    assert len(charts[1].spec["layer"][0]["encoding"]["color"]["scale"]["domain"]) == 2
    assert frontier_plots(POINTS[:1], language)[1] is None


def test_the_captions_state_the_numbers():
    assert "60 samples" in explore_views.caption(POINTS, "kid")
    assert "4 张图" in explore_views.caption(POINTS, "rms")
    assert explore_views.caption(POINTS[:1], "kid") == ""


def test_a_run_of_nothing_takes_no_time(catalogue):
    (progress,) = explore([], Known())
    assert (progress.state, progress.total, progress.content.found) == ("done", 0, {})
