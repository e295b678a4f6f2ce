"""The declarations of the settings' fields are complete, consistent, and parsed as they were written."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from diffusion.experiments.axes import FIELDS
from diffusion.plan import plan_run
from diffusion.setting_spec import Choices, Control, Limits, OnAxis, When, kinds_of, read_settings
from diffusion.settings import SETTINGS, SamplingSettings

GROUPS = ("basics", "seed", "count", "guidance", "schedule", "sampler")


class Model(BaseModel):
    shape: Annotated[Literal["round", "square"] | None, Control(group="basics")] = None
    side: Annotated[float, Control(group="basics", most=lambda limits: limits.max_images), OnAxis("1, 2")] = Field(
        2.0, gt=0, description="Of the square."
    )
    name: Annotated[str, Choices(lambda: {"a": "Anna", "b": "Bert"}), When("shape", lambda shape: shape == "round")] = (
        "b"
    )
    bare: bool = True


def test_a_declaration_is_read_as_it_stands():
    shape, side, name, bare = read_settings(Model).values()
    assert shape.choices == ("round", "square") and shape.control_kind == "radio" and not shape.is_number
    assert side.control_kind == "slider" and side.is_number and not side.is_whole
    assert (side.least, side.most, side.description, side.default) == (0, None, "Of the square.", 2.0)
    assert side.offered(Limits(max_images=7)) == (0, 7)
    assert name.choices == ("b", "a") and name.titles["a"] == "Anna"  # the default first
    assert name.applies({"shape": "round"}) and not name.applies({"shape": []}) and name.applies({})
    assert (bare.control, bare.axis, bare.when, bare.choices) == (None, None, None, ())


def test_a_greyed_setting_holds_its_value():
    greyed = read_settings(SamplingSettings)["conditioning"]
    assert not greyed.applies({"has_own_betas": False}) and greyed.holds({"has_own_betas": False})


@pytest.mark.parametrize(
    "annotation, kinds",
    [(int | None, {int, type(None)}), (Literal["a"], {str}), (tuple[float, ...], {tuple, float}), (bool, {bool})],
)
def test_kinds_are_the_plain_types(annotation, kinds):
    assert kinds <= kinds_of(annotation)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_every_field_is_declared_well(setting):
    assert setting.description
    if setting.when:
        assert setting.when.on in {*SamplingSettings().facts, "classes"}
    control = setting.control
    if control is None:
        return
    assert control.group in GROUPS
    assert control.told_by is None or SETTINGS[control.told_by].control
    if setting.control_kind == "slider":
        assert control.step
        assert control.scale == "linear" or setting.offered(Limits())[0] > 0
    assert not control.chips or setting.control_kind == "slider"
    if setting.control_kind in ("slider", "number"):
        least, most = setting.offered(Limits())
        assert setting.least <= least < most <= setting.most
    if setting.axis:
        assert setting.axis.example or setting.choices or control.codec in ("checkpoint", "classes")


def test_places_are_kept_by_one_setting_each():
    places = [(one.control.group, one.control.place) for one in SETTINGS.values() if one.control]
    assert len(set(places)) == len(places)
    axes = [one.axis.place for one in SETTINGS.values() if one.axis]
    assert sorted(axes) == list(range(1, len(axes) + 1)) and len(FIELDS) == len(axes)


def test_a_value_in_a_key_is_one_that_the_settings_take():
    config = {"num_train_timesteps": 10, "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
    for fields in ({}, {"num_inference_steps": 10}, {"beta_end": 0.05}, {"eta": 0.0}, {"sampler": "ddpm"}):
        plan = plan_run(SamplingSettings(**{"num_inference_steps": 5} | fields), config)
        values = {name: one.cached_as.value(plan) for name, one in SETTINGS.items() if one.cached_as}
        assert plan.settings.replace(**values)


def test_chips_are_those_in_the_range_and_all_steps_are_one():
    steps = SETTINGS["num_inference_steps"]
    assert steps.chips(Limits()) == [10, 20, 50, 100, 1000]
    assert steps.chips(Limits(num_train_timesteps=100)) == [10, 20, 50, 100]
    assert steps.chips(Limits(num_train_timesteps=30)) == [10, 20, 30]
    assert SETTINGS["eta"].chips(Limits()) == []
