"""The settings of a run: which are refused, under which name, and that JSON restores exactly the same run."""

import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion.errors import FieldError
from diffusion.plan import plan_run
from diffusion.settings import SEEDS, SamplingSettings
from diffusion.trajectory import visited_timesteps

CONFIG = {
    "num_train_timesteps": 1000,
    "beta_schedule": "linear",
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "trained_betas": None,
}
COSINE = CONFIG | {"beta_schedule": "squaredcos_cap_v2"}
GIVEN = CONFIG | {"num_train_timesteps": 3, "trained_betas": [0.1, 0.2, 0.3]}


@st.composite
def good_fields(draw):
    """Fields of a valid run, some left out."""
    steps, count = draw(st.integers(1, 1000)), draw(st.integers(1, 5))
    sampler = draw(st.sampled_from(["ddpm", "ddim", "dpmpp_2m", "unipc"]))
    unit = st.floats(1e-9, 0.5, exclude_max=True)
    fields = {
        "sampler": sampler,
        "num_inference_steps": steps,
        "start_step": draw(st.integers(0, steps - 1)),
        "timestep_spacing": draw(st.sampled_from(["even", "quadratic", "power", "leading", "linspace", "trailing"])),
        "clip_sample": draw(st.booleans()),
        "conditioning": draw(st.sampled_from(["matched", "naive"])),
        "seed": draw(st.integers(0, SEEDS - count)),
        "num_images": count,
        "checkpoint": draw(st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)),
    }
    if sampler == "ddim":
        fields["eta"] = draw(st.none() | st.floats(0, 1))
    elif sampler == "ddpm":
        fields["reverse_variance"] = draw(st.sampled_from(["posterior", "beta"]))
    shape = draw(st.sampled_from([None, "linear", "scaled_linear", "sigmoid", "squaredcos_cap_v2"]))
    fields["beta_schedule"] = shape
    if shape != "squaredcos_cap_v2":
        fields["beta_start"], fields["beta_end"] = sorted([draw(unit), draw(unit)])
    label = draw(st.none() | st.integers(0, 9) | st.lists(st.integers(0, 9), min_size=count, max_size=count))
    fields["class_label"] = label
    if label is not None:
        fields["guidance_scale"] = draw(st.floats(0, 100))
    return fields


@given(good_fields())
def test_json_gives_back_the_same_run(fields):
    run = SamplingSettings(**fields)
    again = SamplingSettings.from_json(run.to_json())
    assert again == run
    assert again.to_json() == run.to_json()
    assert set(json.loads(run.to_json())) == set(SamplingSettings.model_fields)
    assert run.replace() == run


@given(good_fields())
@settings(deadline=None)
def test_every_good_run_is_planned(fields):
    run = SamplingSettings(**fields)
    try:
        plan = plan_run(run, CONFIG, classes=0 if run.class_label is None else 10)
    except FieldError as error:
        assert str(error).startswith("betas: too large together")  # T betas of up to 0.5 leave no signal
        return
    timesteps = visited_timesteps(run.num_inference_steps, 1000, run.timestep_spacing)
    assert [t for t, _ in plan.run_pairs] == timesteps[run.start_step :]
    assert plan.pairs[-1][1] == -1
    both = run.class_label is not None and run.guidance_scale not in (0, 1)
    assert plan.evaluations == len(plan.run_pairs) * run.num_images * (2 if both else 1)
    assert len(plan.schedule) == 1000
    assert (plan.class_labels is None) == (run.class_label is None)


@given(
    st.dictionaries(
        st.sampled_from(sorted(SamplingSettings.model_fields)),
        st.none()
        | st.text(max_size=3)
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.lists(st.integers() | st.booleans(), max_size=3),
        max_size=4,
    )
)
def test_any_fields_give_a_valid_run_or_a_named_error(fields):
    try:
        run = SamplingSettings(**fields)
    except FieldError as error:
        for line in str(error).splitlines():
            assert line.split(":")[0].split(", ")[0] in SamplingSettings.model_fields
        return
    for name, value in fields.items():
        if name != "clip_sample":
            assert not isinstance(value, bool)
        assert not (isinstance(value, float) and not math.isfinite(value))
    assert run.start_step < run.num_inference_steps
    assert run.seed + run.num_images <= SEEDS
    assert 0 <= run.effective_eta <= 1


@given(st.text() | st.from_regex(r"\{.*\}"))
def test_any_text_gives_a_run_or_a_named_error(text):
    try:
        assert isinstance(SamplingSettings.from_json(text), SamplingSettings)
    except FieldError as error:
        assert re.match(r"[\w, ]+: ", str(error))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps: .*greater than or equal to 1, got 0"),
        ({"num_inference_steps": 50.0}, "num_inference_steps: .*valid integer, got 50.0"),
        ({"num_inference_steps": True}, "num_inference_steps: .*valid integer, got True"),
        ({"start_step": 50}, r"start_step: must lie in \[0, 50\), got 50"),
        ({"eta": 1.5}, "eta: .*less than or equal to 1"),
        ({"eta": float("nan")}, "eta: "),
        ({"eta": True}, "eta: "),
        ({"eta": 0.5, "sampler": "ddpm"}, "eta: ddpm is eta = 1"),
        ({"eta": 0.5, "sampler": "unipc"}, "eta: unipc draws no noise"),
        ({"reverse_variance": "beta", "sampler": "dpmpp_2m"}, "reverse_variance: beta belongs to ddpm"),
        ({"reverse_variance": "beta"}, "reverse_variance: beta belongs to ddpm"),
        ({"reverse_variance": "fixed_large"}, "reverse_variance: "),
        ({"sampler": "euler"}, "sampler: "),
        ({"beta_start": 0.0}, "beta_start: "),
        ({"beta_end": 1.0}, "beta_end: "),
        ({"beta_end": 2}, "beta_end: "),
        ({"beta_start": 0.03, "beta_end": 0.02}, r"beta_end: must lie in \[beta_start, 1\)"),
        ({"beta_schedule": "squaredcos_cap_v2", "beta_end": 0.02}, "beta_start, beta_end: "),
        ({"seed": -1}, "seed: "),
        ({"seed": SEEDS}, "seed: "),
        ({"seed": SEEDS - 1, "num_images": 2}, "seed: seed \\+ num_images"),
        ({"num_images": 0}, "num_images: "),
        ({"class_label": -1}, "class_label: "),
        ({"class_label": [1, True], "num_images": 2}, "class_label: "),
        ({"class_label": [1, 2, 3], "num_images": 2}, "class_label: needs one class or 2"),
        ({"guidance_scale": 2.0}, "guidance_scale: needs a class_label"),
        ({"guidance_scale": float("inf"), "class_label": 0}, "guidance_scale: "),
        ({"checkpoint": "../secrets"}, "checkpoint: "),
        ({"steps": 50}, "steps: Extra inputs are not permitted"),
    ],
)
def test_what_is_out_of_range_is_named(fields, message):
    with pytest.raises(ValueError, match=rf"^{message}"):
        SamplingSettings(**fields)
    if all(not isinstance(value, float) or math.isfinite(value) for value in fields.values()):
        with pytest.raises(ValueError, match=rf"^{message}"):
            SamplingSettings.from_json(json.dumps(fields))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "null",
        '{"eta": NaN}',
        '{"eta": Infinity}',
        '{"seed": 1, "seed": 2}',
        "{" * 5,
        "[" * 100_000,
        "9" * 5000,
    ],
)
def test_what_is_no_settings_object_is_refused(text):
    with pytest.raises(ValueError, match=r"^settings: "):
        SamplingSettings.from_json(text)


def test_settings_are_frozen_and_replace_validates():
    run = SamplingSettings()
    with pytest.raises(ValueError, match="frozen"):
        run.seed = 3
    assert run.replace(seed=3).seed == 3
    with pytest.raises(ValueError, match=r"^start_step:"):
        run.replace(start_step=50)


def test_parts_make_the_same_pictures():
    run = SamplingSettings(seed=10, num_images=4, class_label=[0, 1, 2, 3])
    assert run.part(1, 3) == SamplingSettings(seed=11, num_images=2, class_label=(1, 2))
    assert run.part(0, 4) == run
    for start, stop in ((0, 5), (2, 2), (-1, 2)):
        with pytest.raises(ValueError, match=r"^start, stop:"):
            run.part(start, stop)


@pytest.mark.parametrize(
    ("fields", "config", "classes", "message"),
    [
        ({"num_inference_steps": 1001}, CONFIG, 0, r"num_inference_steps: must lie in \[1, 1000\], got 1001"),
        ({"class_label": 0}, CONFIG, 0, "class_label: this checkpoint has no classes"),
        ({"class_label": 10}, CONFIG, 10, r"class_label: must lie in \[0, 10\), got 10"),
        ({"class_label": [0, 10], "num_images": 2}, CONFIG, 10, r"class_label: must lie in \[0, 10\), got 10"),
        ({"beta_start": 0.5}, CONFIG, 0, r"beta_end: must lie in \[beta_start, 1\)"),
        ({"beta_end": 1e-5}, CONFIG, 0, "beta_end: "),
        ({"beta_end": 0.02}, COSINE, 0, "beta_start, beta_end: this checkpoint's schedule"),
        ({"num_inference_steps": 3, "beta_end": 0.02}, GIVEN, 0, "beta_schedule: "),
        ({"checkpoint": "faces"}, CONFIG, 0, "checkpoint: these settings are for faces, not for digits"),
    ],
)
def test_limits_of_a_checkpoint_are_named_when_a_run_is_planned(fields, config, classes, message):
    with pytest.raises(ValueError, match=rf"^{message}"):
        plan_run(SamplingSettings(**fields), config, classes, "digits")


def test_the_trained_betas_said_aloud_are_the_trained_betas():
    for fields in ({}, {"beta_end": 0.02}, {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}):
        assert plan_run(SamplingSettings(**fields), CONFIG).on_trained_betas
    plan = plan_run(SamplingSettings(beta_end=0.01), CONFIG)
    assert not plan.on_trained_betas
    assert plan.schedule.betas[[0, -1]].tolist() == [1e-4, 0.01]


def test_labels_of_a_plan():
    assert plan_run(SamplingSettings(num_images=2), CONFIG, classes=3).class_labels == (3, 3)  # 3 is "no class"
    assert plan_run(SamplingSettings(num_images=2, class_label=1), CONFIG, classes=3).class_labels == (1, 1)
    assert plan_run(SamplingSettings(num_images=2, class_label=[2, 0]), CONFIG, classes=3).class_labels == (2, 0)


def test_the_signal_left_at_the_start():
    run = SamplingSettings(num_inference_steps=501, timestep_spacing="leading")
    assert plan_run(run, CONFIG).signal_left == pytest.approx(0.279, abs=5e-4)
    assert plan_run(run.replace(timestep_spacing="even"), CONFIG).signal_left == pytest.approx(0.00635, abs=5e-6)
