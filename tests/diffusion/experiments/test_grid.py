"""Grids: the values of an axis, the cells and their cost, errors that name axis and place, and the runs."""

from typing import get_args

import numpy as np
import pytest
import torch

from diffusion.experiments.axes import FIELDS, MAX_CELLS, SAMPLERS_AND_ETAS, Axis, AxisError, Names
from diffusion.experiments.grid import (
    Job,
    cells_of,
    cheap_first,
    pictures_job,
    run_jobs,
    same_pictures,
    varied,
)
from diffusion.samplers.registry import SAMPLERS
from diffusion.settings import SamplingSettings
from diffusion.trajectory import TimestepSpacing
from tests.diffusion.conftest import make_pipeline

STEPS = "num_inference_steps"


@pytest.fixture(scope="module")
def pipeline(class_unet):
    return make_pipeline(class_unet)


def grid(pipeline, base: SamplingSettings, *axes: Axis):
    def planned(changes):
        return pipeline, pipeline.plan(varied(base, changes))

    return cells_of(axes, planned)


@pytest.mark.parametrize(
    ("field", "text", "values"),
    [
        (STEPS, "10,20,50", [10, 20, 50]),
        (STEPS, " 10 ， 20；50, ", [10, 20, 50]),
        (STEPS, "1-10[5]", [1, 3, 6, 8, 10]),  # 1, 3.25, 5.5, 7.75, 10, halves up
        (STEPS, "3, 10-30 [ 3 ], 999", [3, 10, 20, 30, 999]),
        (STEPS, "50-10[3]", [50, 30, 10]),
        ("seed", "0-4", [0, 1, 2, 3, 4]),
        ("seed", "7-7", [7]),
        ("class_label", "none, 0-2", [None, 0, 1, 2]),
        ("eta", "0-1[5]", [0, 0.25, 0.5, 0.75, 1]),
        ("eta", ".1-.3[3]", [0.1, 0.2, 0.3]),
        ("beta_start", "1e-4-4e-4[4]", [1e-4, 2e-4, 3e-4, 4e-4]),
        ("beta_end", "0.005, 2e-2", [0.005, 0.02]),
        ("guidance_scale", "1-10[5]", [1, 3.25, 5.5, 7.75, 10]),
        ("sampler", "DDPM, ddim", ["ddpm", "ddim"]),
        ("conditioning", "matched,naive", ["matched", "naive"]),
        ("checkpoint", "pixel-faces, mnist", ["pixel-faces", "mnist"]),
        (STEPS, "1-9 (+2)", [1, 3, 5, 7, 9]),  # as WebUI's X/Y/Z plot has it
        (STEPS, "10-4 (-3), 2", [10, 7, 4, 2]),
        ("eta", "0-1(+0.25)", [0, 0.25, 0.5, 0.75, 1]),
        (STEPS, "１０～５０［５］，６０、７０", [10, 20, 30, 40, 50, 60, 70]),
        (STEPS, "１－９（＋４）", [1, 5, 9]),
        ("seed", "0~3", [0, 1, 2, 3]),
        (STEPS, "4 10\u300050", [4, 10, 50]),
        ("sampler", "DPM-Solver++ (2M)、UniPC", ["dpmpp_2m", "unipc"]),
        ("sampler", "dpm-solver++, HEUN", ["dpmpp_2m", "heun"]),
        ("sampler", "ddim ddpm", ["ddim", "ddpm"]),
        (SAMPLERS_AND_ETAS, "DDIM, UniPC, 0.5", ["ddim", "unipc", 0.5]),
    ],
)
def test_values_are_lists_and_ranges(field, text, values):
    found = Axis.of("axis_1", field, text).values
    assert list(found) == values
    assert [type(a) for a in found] == [float if field in ("eta", "guidance_scale") else type(b) for b in values]
    assert Axis.of("axis_1", field, list(found)).values == found


NAMES = Names(
    {"glasses": 2, "眼镜": 2, "眼镜加胡子": 3, "T恤、上衣": 0, "Hat, glasses and beard": 7, "no class": None},
    ("T-shirt", "glasses", "none"),
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("眼镜、T恤", [2, 0]),  # a beginning of one name only; a whole name goes first
        ("T恤、上衣，眼镜加胡子", [0, 3]),
        ("GLASSES; hat, glasses and beard; No class", [2, 7, None]),
        ("none, 0-1, glasses", [None, 0, 1, 2]),
        (["眼镜", 1], [2, 1]),
    ],
)
def test_values_have_names(text, values):
    assert list(Axis.of("x", "class_label", text, NAMES).values) == values


@pytest.mark.parametrize("text", ["cat", "T", "眼"])
def test_a_name_that_is_not_known_lists_those_that_are(text):
    with pytest.raises(AxisError, match="class_label: must be one of 'T-shirt', 'glasses' or 'none', got"):
        Axis.of("x", "class_label", f"0, {text}", NAMES)


@pytest.mark.parametrize(
    ("field", "values", "said"),
    [
        ("num_images", "1", r"^x: axis: must be one of num_inference_steps, .*got 'num_images'"),
        (None, "1", "^x: axis: must be one of"),
        (STEPS, "", f"^x: {STEPS}: needs a value"),
        (STEPS, " , ", f"^x: {STEPS}: needs a value"),
        (STEPS, 7, f"^x: {STEPS}: must be a list of values or a text, got int"),
        (STEPS, "1-900[21]", rf"^x, value 1: {STEPS}: a range takes \[2\] to \[20\] values, got \[21\]"),
        (STEPS, "5, 1-9[1]", rf"^x, value 2: {STEPS}: a range takes"),
        (STEPS, "1-100", f"^x, value 1: {STEPS}: a range goes up, over at most 20 whole numbers, got 1-100"),
        (STEPS, "9-1", f"^x, value 1: {STEPS}: a range goes up"),
        (STEPS, ",".join(map(str, range(1, 22))), f"^x: {STEPS}: must have at most 20 values, got 21"),
        (STEPS, list(range(1, 22)), f"^x: {STEPS}: must have at most 20 values, got 21"),
        (STEPS, "4, 10, 4", f"^x, value 3: {STEPS}: each value must appear only once, got 4 again"),
        (STEPS, "1-3[5]", f"^x, value 3: {STEPS}: each value must appear only once, got 2 again"),
        (STEPS, "9-1 (+2)", rf"^x, value 1: {STEPS}: the step must lead from the first .*, got 9-1 \(\+2\)"),
        (STEPS, "1-9 (0)", f"^x, value 1: {STEPS}: the step must lead"),
        (STEPS, "1-100 (+2)", f"^x: {STEPS}: must have at most 20 values, got 50"),
        (STEPS, "9" * 501, f"^x: {STEPS}: must be at most 500 characters long, got 501"),
    ],
)
def test_errors_name_axis_and_place(field, values, said):
    with pytest.raises(AxisError, match=said):
        Axis.of("x", field, values)


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        (STEPS, "4, 0", rf"^x, value 2: {STEPS}: .*greater than or equal to 1, got 0"),
        (STEPS, "4, 1001", rf"^x, value 2: {STEPS}: must lie in \[1, 1000\], got 1001"),
        (STEPS, "4.5", f"^x, value 1: {STEPS}: .*valid integer.*4.5"),
        (STEPS, "ten", f"^x, value 1: {STEPS}: .*valid integer.*'ten'"),
        ("eta", "0, 1.5", "^x, value 2: eta: .*less than or equal to 1, got 1.5"),
        ("eta", "nan", "^x, value 1: eta: .*valid number, .*got 'nan'"),
        ("eta", "0-1e999[3]", "^x, value 1: eta: .*valid number"),
        ("seed", "0-1e999[3]", "^x, value 1: seed: .*valid integer"),
        ("beta_end", "0.02, 1", "^x, value 2: beta_end: .*less than 1, got 1"),
        ("beta_end", "0.00001", "^x, value 1: beta_end: |betas"),
        ("seed", "0, -2", "^x, value 2: seed: .*greater than or equal to 0, got -2"),
        ("seed", "0, -1", "^x, value 2: seed: -1 draws a random seed only"),
        ("seed", "4294967296", "^x, value 1: seed: "),
        ("class_label", "0-3", r"^x, value 4: class_label: must lie in \[0, 3\), got 3"),
        ("guidance_scale", "1, 101", "^x, value 2: guidance_scale: .*less than or equal to 100, got 101"),
        ("sampler", "ddim, euler", "^x, value 2: sampler: .*'dpmpp_2m'.*'unipc'.*, got 'euler'"),
        ("conditioning", "other", "^x, value 1: conditioning: .*'matched' or 'naive'"),
        ("beta_schedule", "linear, square", "^x, value 2: beta_schedule: "),
        ("checkpoint", "a/b", "^x, value 1: checkpoint: "),
    ],
)
def test_values_that_do_not_do_name_axis_place_field_and_range(pipeline, field, text, said):
    base = SamplingSettings(class_label=0)
    with pytest.raises(AxisError if said.startswith("^x") and "|" not in said else ValueError, match=said):
        grid(pipeline, base, Axis.of("x", field, text))


def test_a_problem_that_no_axis_has_is_not_put_on_one(pipeline):
    with pytest.raises(ValueError, match=r"^class_label: must lie in \[0, 3\)") as caught:
        grid(pipeline, SamplingSettings(class_label=7), Axis("x", STEPS, (1, 2)))
    assert not isinstance(caught.value, AxisError)


def test_a_grid_has_at_most_three_axes_and_no_field_twice(pipeline):
    base = SamplingSettings()
    many = [Axis(name, name, (1,)) for name in FIELDS[:4]]
    for axes in ([], many):
        with pytest.raises(ValueError, match=f"^axes: a grid has 1 to 3, got {len(axes)}"):
            grid(pipeline, base, *axes)
    with pytest.raises(AxisError, match=f"^b: {STEPS}: is on another axis already"):
        grid(pipeline, base, Axis("a", STEPS, (1,)), Axis("b", STEPS, (2,)))
    large = [Axis("a", STEPS, tuple(range(1, 12))), Axis("b", "seed", tuple(range(11)))]
    with pytest.raises(ValueError, match=f"^axes: a grid has at most {MAX_CELLS} cells, got 121"):
        grid(pipeline, base, *large)


def test_every_cell_is_there_once_with_its_own_settings(pipeline):
    axes = [Axis("a", STEPS, (2, 3)), Axis("b", "sampler", ("ddpm", "ddim")), Axis("c", "seed", (5, 6, 7))]
    cells = grid(pipeline, SamplingSettings(num_images=2), *axes)
    assert [cell.place for cell in cells][:5] == [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1)]
    assert len({cell.place for cell in cells}) == 12
    for cell in cells:
        settings = cell.plan.settings
        assert [settings.num_inference_steps, settings.sampler, settings.seed] == cell.values(axes)
        assert cell.plan.evaluations == 2 * settings.num_inference_steps


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_spacing_follows_the_sampler_of_a_cell_unless_it_was_chosen(sampler):
    """As on the page, where a click on a sampler takes its spacing along."""
    own = "power" if sampler in ("unipc", "dpmpp_2m") else "trailing"
    for default in ("trailing", "power"):
        assert varied(SamplingSettings(timestep_spacing=default), {"sampler": sampler}).timestep_spacing == own
    assert varied(SamplingSettings(timestep_spacing="even"), {"sampler": sampler}).timestep_spacing == "even"
    base, chosen = SamplingSettings(sampler=sampler), {"sampler": sampler, "timestep_spacing": "trailing"}
    assert varied(base, chosen).timestep_spacing == "trailing"
    assert varied(base, {"seed": 3}).timestep_spacing == "trailing"  # what a run states stays


def test_what_means_nothing_in_a_cell_is_left_out():
    base = SamplingSettings(eta=0.5, class_label=1, guidance_scale=3.0, beta_start=1e-4, beta_end=0.01)
    assert varied(base, {"sampler": "ddpm"}).eta is None
    assert varied(base, {"sampler": "ddim"}).eta == 0.5
    assert varied(base, {"sampler": "ddpm", "eta": 0.2}).eta is None
    assert varied(base, {"sampler": "unipc"}).eta is None
    assert varied(base, {"class_label": None}).guidance_scale == 1
    cosine = varied(base, {"beta_schedule": "squaredcos_cap_v2"})
    assert (cosine.beta_start, cosine.beta_end) == (None, None)
    other = SamplingSettings(sampler="ddpm", reverse_variance="beta")
    assert varied(other, {"sampler": "ddim"}).reverse_variance == "posterior"
    assert varied(other, {"sampler": "dpmpp_2m"}) == SamplingSettings(sampler="dpmpp_2m", timestep_spacing="power")
    with pytest.raises(ValueError, match=r"^eta: ddpm is eta = 1"):  # an eta that nothing would look at is an error
        varied(other, {"eta": 0.5})
    with pytest.raises(ValueError, match=r"^guidance_scale: needs a class_label"):
        varied(other, {"guidance_scale": 2.0})


def test_equal_keys_mean_equal_pictures_and_other_settings_have_other_keys(pipeline):
    base = SamplingSettings(num_inference_steps=3, class_label=1)
    same = [{"eta": 0.0}, {"beta_end": 0.02}, {"beta_start": 1e-4, "conditioning": "naive"}, {"conditioning": "naive"}]
    plain = pipeline.plan(base)
    pictures = list(pipeline.steps(base))[-1].x_s
    for fields in same:
        settings = base.replace(**fields)
        assert same_pictures(pipeline.plan(settings)) == same_pictures(plain)
        assert torch.equal(list(pipeline.steps(settings))[-1].x_s, pictures)
    spacings = [base.replace(timestep_spacing=spacing) for spacing in get_args(TimestepSpacing)]
    whole = {same_pictures(pipeline.plan(one.replace(num_inference_steps=len(plain.trained)))) for one in spacings}
    assert len(whole) == 1 and len({same_pictures(pipeline.plan(one)) for one in spacings}) == len(spacings)
    others = [{"eta": 0.1}, {"beta_end": 0.01}, {"beta_end": 0.01, "conditioning": "naive"}, {"seed": 1},
              {"sampler": "ddpm"}, {"sampler": "unipc"}, {"sampler": "dpmpp_2m"}, {"class_label": 2},
              {"guidance_scale": 2.0}, {"num_images": 2}]  # fmt: skip
    keys = {same_pictures(pipeline.plan(base.replace(**fields))) for fields in others}
    assert len(keys | {same_pictures(plain)}) == len(others) + 1


def test_cheap_cells_run_first_and_equal_ones_once(pipeline):
    axes = [Axis("a", STEPS, (20, 2, 5)), Axis("b", "guidance_scale", (2.0, 1.0)), Axis("c", "eta", (0.0, 0.5))]
    cells = grid(pipeline, SamplingSettings(class_label=1, num_images=2), *axes)
    jobs = cheap_first([pictures_job(cell.pipeline, cell.plan) for cell in (*cells, *cells)])
    assert len(jobs) == 12
    costs = [job.evaluations for job in jobs]
    assert costs == sorted(costs) and costs[:2] == [4, 4] and costs[-1] == 80  # guidance asks twice
    assert sum(job.calls for job in jobs) == 4 * 27


def test_jobs_end_in_the_pictures_of_the_pipeline_and_can_be_left(pipeline):
    plans = [pipeline.plan(SamplingSettings(num_inference_steps=S, seed=S, num_images=2)) for S in (2, 4)]
    jobs = [pictures_job(pipeline, plan) for plan in plans]
    seen = list(run_jobs(jobs))
    assert [(step.job is jobs[1], step.calls, step.is_last) for step in seen] == [
        (False, 1, False), (False, 2, True), (True, 1, False), (True, 2, False), (True, 3, False), (True, 4, True)
    ]  # fmt: skip
    for step in seen:
        if step.is_last:
            alone = pipeline(step.job.plans[0].settings, output_type="pt").images
            assert np.allclose((step.result / 2 + 0.5).clamp(0, 1), alone, atol=1e-6)
    first, second = run_jobs(jobs), None
    for step in first:
        second = step
        if step.calls == 2:
            break
    assert second.is_last and second.result is not None


def test_a_job_of_several_runs_has_their_pictures_in_order(pipeline):
    whole = SamplingSettings(num_inference_steps=2, num_images=5, class_label=(0, 1, 2, 0, 1))
    plans = tuple(pipeline.plan(part) for part in (whole.part(0, 2), whole.part(2, 5)))
    *_, last = run_jobs([Job("key", pipeline, plans, lambda x: x)])
    assert (last.calls, last.job.evaluations) == (4, 10)
    alone = [list(pipeline.steps(plan.settings))[-1].x_s for plan in plans]
    assert torch.equal(last.result, torch.cat(alone))
