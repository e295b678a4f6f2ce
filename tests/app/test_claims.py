"""Every sentence that a preset or a control says about runs is true of every shipped checkpoint.

CLAIMS holds each sentence, by a part of it in both languages, with what it claims: a function of the runs, or `asks`
for one that claims nothing and only says where to look. A preset without an entry fails, and so does a sentence without
one.
"""

import re
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from app.compare.presets import PRESETS, preset_settings
from app.explore.grids import GRID_PRESETS
from app.server.checkpoints import Catalogue
from app.server.options import Options
from app.texts import LANGUAGES, texts
from diffusion.sampling import Step

SHIPPED = Catalogue(Options().checkpoints)
PICTURES, SEED = 8, 0


# The runs ------------------------------------------------------------------------------------------------------------


class Runs:
    """Runs of one checkpoint, each computed once: `PICTURES` pictures of mixed classes, from one seed."""

    def __init__(self, name: str):
        self.checkpoint, self.pipeline = SHIPPED.checkpoint(name), SHIPPED.pipeline(name)
        self.steps = cache(self._steps)

    def settings(self, fields: dict) -> dict:
        classes = self.checkpoint.classes
        labels = tuple(k % classes for k in range(PICTURES)) if classes else None
        return {"seed": SEED, "num_images": PICTURES, "class_label": labels} | fields

    def _steps(self, fields: tuple) -> tuple[list[Tensor], Tensor]:
        """The guesses x_0_hat of a run, and its pictures."""
        steps: list[Step] = list(self.pipeline.steps(**self.settings(dict(fields))))
        return [step.x_0_hat for step in steps], steps[-1].x_s

    def guesses(self, **fields) -> list[Tensor]:
        return self.steps(tuple(fields.items()))[0]

    def pictures(self, **fields) -> Tensor:
        return self.steps(tuple(fields.items()))[1]

    def plans(self, preset: str):
        """The plans of both runs of a comparison."""
        return [self.pipeline.plan(settings) for settings in preset_settings(preset, self.checkpoint)]

    def preset(self, name: str) -> tuple[Tensor, Tensor]:
        """The pictures of both runs of a comparison."""
        first, second = (self.pictures(**fields) for fields in PRESETS[name].runs)
        return first, second


@cache
def runs_of(name: str) -> Runs:
    return Runs(name)


def rms(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item()


def contrast(x: Tensor) -> float:
    """The standard deviation of a picture's numbers, on average over the pictures."""
    return x.clamp(-1, 1).flatten(1).std(1).mean().item()


def roughness(x: Tensor) -> float:
    """The mean difference between neighbours, across and down."""
    x = x.clamp(-1, 1)
    return x.diff(dim=-1).abs().mean().item() + x.diff(dim=-2).abs().mean().item()


def extremes(x: Tensor) -> float:
    """The share of numbers within 8 of 255 levels of black or white."""
    return (x.abs() > 1 - 16 / 255).float().mean().item()


def are_others(a: Tensor, b: Tensor) -> bool:
    """Whether pictures differ by far more than two step counts of DDIM let them, 0.2 at the most."""
    return rms(a - b) > 0.35


# The claims ----------------------------------------------------------------------------------------------------------


def asks(runs: Runs) -> bool:
    return True


def shares_first_noise(runs: Runs) -> bool:
    """By seed alone, whatever the sampler and the number of steps."""
    starts = []
    for fields in (PRESETS["ddpm-ddim"].first, PRESETS["eta"].second, PRESETS["few-steps"].second):
        starts.append(next(iter(runs.pipeline.steps(**runs.settings(fields)))).x_t)
    return all(torch.equal(start, starts[0]) for start in starts)


def ddpm_and_ddim_end_elsewhere(runs: Runs) -> bool:
    return are_others(*runs.preset("ddpm-ddim"))


def a_twentieth_of_the_calls(runs: Runs) -> bool:
    many, few = runs.plans("thousand")
    return (many.calls, few.calls) == (1000, 50)


def guesses_part_from_the_second_step_on(runs: Runs) -> bool:
    first, second = (runs.guesses(**fields) for fields in PRESETS["eta"].runs)
    apart = [rms(a - b) for a, b in zip(first, second, strict=True)]
    return apart[0] == 0 and min(apart[1:]) > 0.05 and are_others(*runs.preset("eta"))


def eight_calls_end_elsewhere(runs: Runs) -> bool:
    return [plan.calls for plan in runs.plans("few-steps")] == [8, 8] and are_others(*runs.preset("few-steps"))


def unipc_has_half_the_calls_and_no_fresh_noise(runs: Runs) -> bool:
    a, b = runs.plans("solver")
    return a.calls == 2 * b.calls and a.settings.effective_eta == b.settings.effective_eta == 0


def solvers_are_nearly_the_same(runs: Runs) -> bool:
    a, b = runs.preset("solver")
    return rms(a - b) < 0.1


def half_the_last_beta(runs: Runs) -> bool:
    return all(plan.schedule.betas[-1] == plan.trained.betas[-1] / 2 for plan in runs.plans("betas"))


def a_is_told_what_it_gets(runs: Runs) -> bool:
    return bool((runs.plans("betas")[0].noise_levels.mismatch - 1).abs().max() < 0.005)


def b_is_told_more_and_is_less_extreme(runs: Runs) -> bool:
    a, b = runs.preset("betas")
    return bool(runs.plans("betas")[1].noise_levels.mismatch.min() > 1) and extremes(b) < extremes(a) / 3


def leading_begins_below(runs: Runs) -> bool:
    a, b = runs.plans("leading")
    return b.run_pairs[0][0] < a.run_pairs[0][0] == len(a.trained) - 1 and b.signal_left > a.signal_left


def stays_within(runs: Runs) -> bool:
    return max(guess.abs().max().item() for guess in runs.guesses(num_inference_steps=20)) <= 1


def goes_far_outside(runs: Runs) -> bool:
    guesses = runs.guesses(num_inference_steps=20, clip_sample=False)
    return guesses[0].abs().max().item() > 3


def few_steps_are_near_many(runs: Runs) -> bool:
    few, many = (runs.pictures(num_inference_steps=steps) for steps in (4, 50))
    return rms(few - many) < 0.25


def step_counts_of_ddpm_end_elsewhere(runs: Runs) -> bool:
    a, b, c = (runs.pictures(sampler="ddpm", num_inference_steps=steps) for steps in (4, 10, 50))
    return are_others(a, b) and are_others(b, c) and are_others(a, c)


def ten_steps_of_solvers_are_nearer(runs: Runs) -> bool:
    def left(sampler: str) -> float:
        ten, twenty = (
            runs.pictures(sampler=sampler, num_inference_steps=steps, timestep_spacing="power") for steps in (10, 20)
        )
        return rms(ten - twenty)

    return max(left("dpmpp_2m"), left("unipc")) < left("ddim")


def each_eta_ends_elsewhere(runs: Runs) -> bool:
    made = [runs.pictures(eta=eta, num_inference_steps=20) for eta in (0.0, 0.5, 1.0)]
    return shares_first_noise(runs) and min(rms(a - b) for a, b in pairwise(made)) > 0.25


def trained_betas_are_one_run(runs: Runs) -> bool:
    trained = runs.checkpoint.beta_end
    plans = [runs.pipeline.plan(settings) for settings in (
        preset_settings("betas", runs.checkpoint)[side].replace(beta_end=trained) for side in (0, 1)
    )]  # fmt: skip
    return all(plan.on_trained_betas for plan in plans)


def naive_is_told_another_level(runs: Runs) -> bool:
    mismatches = []
    for beta_end in (0.005, 0.01, 0.04):
        settings = preset_settings("betas", runs.checkpoint)[1].replace(beta_end=beta_end)
        mismatches.append((runs.pipeline.plan(settings).noise_levels.mismatch - 1).abs().max().item())
    return min(mismatches) > 0.1


def naive_is_rougher_at_both_ends(runs: Runs) -> bool:
    def rough(beta_end: float, conditioning: str) -> float:
        return roughness(runs.pictures(beta_end=beta_end, conditioning=conditioning, num_inference_steps=20))

    return all(rough(beta_end, "naive") > 1.1 * rough(beta_end, "matched") for beta_end in (0.005, 0.04))


def of_classes(runs: Runs, scale: float) -> list[Tensor]:
    return [
        runs.pictures(guidance_scale=scale, class_label=label, num_inference_steps=15) for label in range(3)
    ]  # as the grid's rows


def no_guidance_is_no_class(runs: Runs) -> bool:
    if not runs.checkpoint.classes:
        return True  # the preset is not offered
    rows = of_classes(runs, 0.0)
    return max(rms(row - rows[0]) for row in rows) < 1e-4


def contrast_grows_with_guidance(runs: Runs) -> bool:
    if not runs.checkpoint.classes:
        return True
    levels = [contrast(torch.cat(of_classes(runs, scale))) for scale in (1.0, 4.0)]
    return levels[0] * 1.05 < levels[1]


CLAIMS = {
    "presets.ddpm-ddim.see": [
        ("Both start from the same noise", "两边从同样的噪点出发", shares_first_noise),
        ("ends in other pictures", "走到另外的画面", ddpm_and_ddim_end_elsewhere),
    ],
    "presets.thousand.see": [
        ("a twentieth of the network calls", "二十分之一的次数", a_twentieth_of_the_calls),
        ("are the thousand steps worth it?", "看看最终的画面", asks),
        ("?", "值得吗", asks),
    ],
    "presets.eta.see": [
        ("without fresh noise and with all of it", "一边不加新噪点，一边全加", asks),
        ("starts at 0, since", "从 0 开始；之后新噪点把它们越带越开", guesses_part_from_the_second_step_on),
    ],
    "presets.few-steps.see": [
        ("only eight times", "只问网络八次", eight_calls_end_elsewhere),
        ("whose edges are sharper", "轮廓更清楚", asks),
        ("look again", "回头看看", asks),
    ],
    "presets.solver.see": [
        ("half the network calls", "只问一半次数", unipc_has_half_the_calls_and_no_fresh_noise),
        ("they are nearly the same", "几乎一样", solvers_are_nearly_the_same),
    ],
    "presets.betas.see": [
        ("the last β is half the trained one", "最后的 β 都是训练时的一半", half_the_last_beta),
        ("A is told the noise level that it gets", "A 知道自己拿到的噪声水平", a_is_told_what_it_gets),
        ("far fewer places reach full black", "到得了纯黑、纯白的地方少得多", b_is_told_more_and_is_less_extreme),
    ],
    "presets.leading.see": [
        ("below the last trained timestep", "从较小的 t 出发", leading_begins_below),
        ("at which t each run begins", "从哪个 t 出发。", leading_begins_below),
    ],
    "presets.clipping.see": [
        ("A keeps every guess", "A 把每次的猜测", stays_within),
        ("is far outside", "远远超出去", goes_far_outside),
    ],
    "grids.steps.see": [
        ("All cells begin with the same noise", "从同样的噪点出发", shares_first_noise),
        ("first column is already near its last", "第一列就已经接近它的最后一列", few_steps_are_near_many),
        ("other pictures at each number of steps", "每种步数走到另外的画面", step_counts_of_ddpm_end_elsewhere),
    ],
    "grids.solvers.see": [
        ("after the same pictures", "奔向的是同样的画面", solvers_are_nearly_the_same),
        ("at ten steps", "走十步时", ten_steps_of_solvers_are_nearer),
    ],
    "grids.eta.see": [
        ("each η ends in other pictures", "每个 η 走到不同的画面", each_eta_ends_elsewhere),
        ("does fresh noise cost anything", "要付出代价吗", asks),
    ],
    "grids.betas.see": [
        ("both rows are one and the same run", "两行是同一次生成", trained_betas_are_one_run),
        ("told another noise level than it gets", "与它拿到的不同", naive_is_told_another_level),
        ("rougher", "更粗糙", naive_is_rougher_at_both_ends),
    ],
    "grids.guidance.see": [
        ("all rows are the same", "各行都一样", no_guidance_is_no_class),
        ("contrast grows with guidance", "强度越大，对比越强", contrast_grows_with_guidance),
        ("Do the pictures become more like", "是不是也越来越像", asks),
    ],
    "grids.seeds.see": [
        ("Each column begins with one noise", "每一列从同一片噪点出发", shares_first_noise),
        ("the noise had decided much", "已经决定了很多", asks),
    ],
    "controls.sampler.info": [
        ("few steps already come near", "几步就已接近走很多步的画面", few_steps_are_near_many),
        ("each number of steps ends in other pictures", "每种步数走到不同的画面", step_counts_of_ddpm_end_elsewhere),
        ("come nearer than DDIM in as many steps", "比 DDIM 离终点更近", ten_steps_of_solvers_are_nearer),
        ("Heun asks twice a step", "Heun 每一步问两次", asks),
    ],
    "controls.guidance_scale.info": [
        ("1: as trained", "1 是训练时的样子", asks),
        ("with more contrast", "对比越强", contrast_grows_with_guidance),
        ("0: class ignored", "0 则不理会类别", no_guidance_is_no_class),
    ],
}  # fmt: skip
SENTENCE_ENDS = {"en": r"(?<=[.?!])\s+", "zh": r"(?<=[。？！])"}


@pytest.mark.parametrize("key", [
    *(f"presets.{name}.see" for name in PRESETS), *(f"grids.{name}.see" for name in GRID_PRESETS), *CLAIMS,
])  # fmt: skip
def test_every_sentence_stands_with_its_claim(key):
    for place, language in enumerate(SENTENCE_ENDS):  # the others are made from these
        text, parts = texts(language)[key], [claim[place] for claim in CLAIMS[key]]
        assert all(part in text for part in parts), (language, parts)
        for sentence in re.split(SENTENCE_ENDS[language], text):
            assert not sentence or any(part in sentence for part in parts), sentence


@pytest.mark.parametrize("name", [name for name in texts("en") if re.fullmatch(r"(presets|grids)\..*\.title", name)])
def test_a_title_says_which_runs_and_not_how_they_look(name):
    looks = r"\b(hard|easy|good|bad|dull|blurr|sharp|grain|nearly|better|worse)|吃力|从容|发灰|发糊|更好|颗粒"
    assert not any(re.search(looks, texts(language)[name]) for language in LANGUAGES)
    preset = PRESETS.get(name.split(".")[1]) if name.startswith("presets") else None
    said = {int(number) for number in re.findall(r"\b\d+\b", texts("en")[name]) if int(number) > 1}
    assert preset is None or said <= {fields.get("num_inference_steps", 50) for fields in preset.runs}


@pytest.mark.slow  # some 600 network calls on 8 pictures, for each of the shipped checkpoints
@pytest.mark.parametrize("name", SHIPPED.names())
def test_what_is_said_is_so_on_every_shipped_checkpoint(name):
    claims = {claim: part for of_key in CLAIMS.values() for part, _, claim in of_key}
    runs = runs_of(name)
    wrong = [part for claim, part in claims.items() if not claim(runs)]
    assert wrong == []
