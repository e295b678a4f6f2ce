"""The declared properties of every registered sampler against its behaviour."""

import itertools

import pytest
import torch

from diffusion.experiments.grid import pictures_job, run_jobs, varied
from diffusion.plan import plan_run
from diffusion.samplers.base import walk
from diffusion.samplers.registry import SAMPLERS, choices, reads
from diffusion.settings import SETTINGS, SamplingSettings
from diffusion.trajectory import TimestepSpacing
from tests.diffusion.conftest import make_pipeline

OF_SOME = {name for name, setting in SETTINGS.items() if setting.when and setting.when.on == "sampler"}


@pytest.fixture(params=SAMPLERS)
def sampler(request):
    return SAMPLERS[request.param]


@pytest.fixture
def counted(unet):
    """A pipeline, and a list that grows with each of its network's calls."""
    pipeline, calls = make_pipeline(unet), []
    watched = pipeline.unet.register_forward_pre_hook(lambda network, inputs: calls.append(len(inputs[0])))
    yield pipeline, calls
    watched.remove()


@pytest.mark.parametrize(("S", "start_step"), [(1, 0), (2, 0), (7, 0), (7, 3)])
def test_a_plan_knows_the_calls(counted, sampler, S, start_step):
    pipeline, calls = counted
    settings = SamplingSettings(sampler=sampler.name, num_inference_steps=S, start_step=start_step, num_images=3)
    plan = pipeline.plan(settings)
    for number, step in enumerate(pipeline.steps(settings), 1):
        assert (len(calls), step.s) == (plan.calls_after(number), plan.run_pairs[number - 1][1])
    assert (len(calls), sum(calls)) == (plan.calls, plan.evaluations)
    assert step.s == -1 and bool(torch.isfinite(step.x_s).all())


def test_a_job_knows_the_calls(counted, sampler):
    pipeline, calls = counted
    settings = SamplingSettings(sampler=sampler.name, num_inference_steps=4, num_images=2)
    *on_the_way, last = run_jobs([pictures_job(pipeline, pipeline.plan(settings))])
    assert last.is_last and last.calls == last.job.calls == len(calls) and last.job.evaluations == 2 * len(calls)
    assert sum(step.taken for step in [*on_the_way, last]) == last.calls


def test_fresh_noise_is_drawn_where_the_facts_say_so(unet, sampler):
    pipeline = make_pipeline(unet)
    settings = SamplingSettings(sampler=sampler.name, num_inference_steps=3)
    x_T = torch.randn(1, 1, 8, 8)
    first, second = (list(pipeline.steps(settings.replace(seed=seed), x_T))[-1].x_s for seed in (0, 1))
    assert torch.equal(first, second) == (settings.effective_eta == 0)


def test_a_run_that_goes_on_is_the_same_run_unless_it_leans_on_history(unet, sampler):
    pipeline = make_pipeline(unet)
    settings = SamplingSettings(sampler=sampler.name, num_inference_steps=8, seed=5, num_images=2)
    whole = list(pipeline.steps(settings))
    rest = list(pipeline.steps(settings.replace(start_step=3), whole[3].x_t))
    assert torch.equal(whole[-1].x_s, rest[-1].x_s) != sampler.has_history


def test_only_what_a_sampler_reads_may_be_set(sampler):
    other = {"eta": 0.37, "reverse_variance": "beta"}
    assert set(other) == OF_SOME
    for field, value in other.items():
        if field in sampler.reads:
            assert SamplingSettings(sampler=sampler.name, **{field: value}).read_by_sampler[field] == value
        else:
            with pytest.raises(ValueError, match=f"^{field}: "):
                SamplingSettings(sampler=sampler.name, **{field: value})
    base = SamplingSettings(eta=0.37)
    assert varied(base, {"sampler": sampler.name}).eta == (0.37 if "eta" in sampler.reads else None)


def test_facts_are_in_range(sampler):
    assert SAMPLERS[sampler.name] is sampler
    assert sampler.title and sampler.source
    assert sampler.spacing in TimestepSpacing.__args__
    assert sampler.calls >= sampler.calls_to_picture >= 1
    assert sampler.reads <= OF_SOME
    assert sampler.eta is not None or "eta" in sampler.reads


@pytest.mark.parametrize("name", ["euler", "", None, 3, {"a": []}, ["ddim"], True])
def test_what_is_no_sampler_reads_nothing_and_is_refused(name):
    assert not any(reads(name, field) for field in OF_SOME)
    said = r"^sampler: (Input should be 'ddim', 'ddpm', .* or '\w+', got |needs a value)"
    with pytest.raises(ValueError, match=said):
        SamplingSettings(sampler=name)
    assert choices().startswith("'ddim', 'ddpm', ")


def test_each_sampler_is_its_own(unet):
    pipeline = make_pipeline(unet)
    found = [list(pipeline.steps(sampler=name, num_inference_steps=6))[-1].x_s for name in SAMPLERS]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(found, 2))


def test_guidance_doubles_pictures_and_not_calls(sampler):
    from diffusers import DDPMScheduler

    plain, guided = (
        plan_run(SamplingSettings(sampler=sampler.name, class_label=1, guidance_scale=w), DDPMScheduler().config, 3)
        for w in (1.0, 2.0)
    )
    assert plain.calls == guided.calls and 2 * plain.evaluations == guided.evaluations
    assert guided.is_guided and not plain.is_guided


def test_a_step_is_the_samplers_for_one_pair_too(unet, sampler):
    """A walk down one pair, as derivations take it."""
    pipeline = make_pipeline(unet)
    plan = pipeline.plan(SamplingSettings(sampler=sampler.name))
    generators = [torch.Generator().manual_seed(0)]
    (step,) = walk(sampler, pipeline.denoiser(plan), torch.randn(1, 1, 8, 8), [(500, -1)], generators=generators)
    torch.testing.assert_close(step.x_s, step.x_0_hat)
