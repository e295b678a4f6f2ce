"""The table of the samplers on a tiny checkpoint: its distances against the runs themselves."""

import numpy as np
import pytest
from diffusers import DDPMPipeline, DDPMScheduler

from benchmarks.samplers import RUNS, SEED, Row, is_noisy, measure, steps_within, verdict
from benchmarks.training import RECIPES, paced_as
from diffusion.pipeline import DDPMLabPipeline
from diffusion.samplers.registry import SAMPLERS
from diffusion.settings import SamplingSettings
from tests.networks import make_unet


def test_distances_are_those_to_all_steps_of_ddim(tmp_path):
    folder = tmp_path / "tiny"
    DDPMPipeline(make_unet(), DDPMScheduler(num_train_timesteps=30)).save_pretrained(folder)
    rows = list(measure(folder, calls=(3, 6), pictures=4, samples=0, cache=tmp_path / "cache"))
    assert [(row.sampler, row.spacing, row.calls) for row in rows] == [
        (*run, calls) for run in RUNS for calls in (3, 6)
    ]
    assert {row.sampler for row in rows} == set(SAMPLERS)
    assert {row.sampler for row in rows if row.rms is None} == {"ddpm"} and all(row.kid is None for row in rows)
    pipeline = DDPMLabPipeline.from_checkpoint(folder)
    for row in rows:  # as many steps as the calls allow, and no more
        fields = dict(sampler=row.sampler, timestep_spacing=row.spacing)
        plans = [pipeline.plan(SamplingSettings(num_inference_steps=row.steps + more, **fields)) for more in (0, 1)]
        assert plans[0].calls <= row.calls < plans[1].calls
    common = dict(num_images=4, seed=SEED, clip_sample=False)
    reference = list(pipeline.steps(num_inference_steps=30, **common))[-1].x_s.double().numpy()
    for sampler, spacing, steps in (("unipc", "power", 6), ("heun", "trailing", 3)):  # both for 6 calls
        own = dict(sampler=sampler, num_inference_steps=steps, timestep_spacing=spacing)
        found = list(pipeline.steps(**own, **common))[-1].x_s.double().numpy()
        (row,) = (row for row in rows if (row.sampler, row.spacing, row.calls) == (sampler, spacing, 6))
        squares = ((found - reference) ** 2).reshape(4, -1).mean(1)
        assert row.rms == pytest.approx(np.sqrt(squares.mean()), rel=1e-4)
        assert row.median == pytest.approx(np.median(np.sqrt(squares)), rel=1e-4)


def test_steps_are_counted_by_what_the_sampler_says_of_its_calls():
    assert [steps_within("heun", calls) for calls in (1, 2, 3, 10, 20)] == [1, 1, 2, 5, 10]
    assert all(steps_within(name, 7) == 7 for name, sampler in SAMPLERS.items() if sampler.calls_of(0) == 1)
    assert [name for name in SAMPLERS if is_noisy(name)] == ["ddpm"]
    with pytest.raises(ValueError, match=r"^calls: heun needs at least 1, got 0"):
        steps_within("heun", 0)


@pytest.mark.parametrize(("rms", "said"), [(0.03, "is nearer than"), (0.05, "is NOT nearer than")])
def test_the_verdict_is_of_the_best_sampler_against_ddim_at_its_best(rms, said):
    def row(sampler, spacing, calls, rms):
        return Row("tiny", sampler, spacing, steps_within(sampler, calls), calls, rms, rms, None)

    rows = [row("ddpm", "even", 10, None), row("ddim", "even", 10, 0.09), row("unipc", "power", 10, rms),
            row("ddim", "even", 20, 0.05), row("ddim", "power", 20, 0.04), row("unipc", "power", 20, 0.01)]  # fmt: skip
    assert said in verdict(rows) and "unipc (power) with 10" in verdict(rows) and "0.0400" in verdict(rows)


def test_what_costs_nothing_trains_as_fast_as_ours():
    """A loss, a rate or an average gets the minutes of the same network; another network is timed on its own."""
    own = {name for name in ["theirs", *RECIPES] if paced_as(name) == name}
    assert {paced_as(name) for name in RECIPES} - own == set()
    assert own >= {"ours", "theirs", "float32", "batch-16", "wider", "dropout", "attention"}
    assert not own & {"simple", "v-prediction", "x_0-prediction", "lr-4e-4", "ema-0.999", "uniform-t", "constant-lr"}
