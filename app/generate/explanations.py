"""Explain what each control does to the planned run: one sentence per control, with the run's own numbers."""

from collections.abc import Callable

import torch

from app.controls.codecs import CODECS
from app.controls.sentences import Reading, mismatch
from app.controls.spec import field_words
from app.texts import DEFAULT, say, texts
from app.texts.numbers import number, percent
from diffusion.gaussian import StepCoefficients, step_coefficients
from diffusion.plan import Plan
from diffusion.samplers.ancestral import Ancestral
from diffusion.sampling import is_noisy
from diffusion.settings import SETTINGS


def explanations(plan: Plan, language: str) -> list[tuple[str, str]]:
    """Return (name of the control, sentence) for each control that has an effect on this run."""
    said = [(field, sentence(plan)) for field, sentence in SENTENCES.items()]
    said += [(field, _other(plan, field, language)) for field in SETTINGS if _is_other(field)]
    return [
        (field_words(field, language), say(language, f"explanations.{key[0]}", **key[1])) for field, key in said if key
    ]


def _is_other(field: str) -> bool:
    """Return whether a control has no sentence of its own here and no part in another control's sentence."""
    control = SETTINGS[field].control
    return control is not None and control.codec != "checkpoint" and not control.told_by and field not in SENTENCES


def _other(plan: Plan, field: str, language: str) -> Reading:
    """Return the setting's text with its value; without a text, its description. None if it does not apply."""
    setting, facts = SETTINGS[field], plan.settings.facts
    if facts[field] is None or not setting.holds(facts):
        return None
    value = CODECS[field].value_words(facts[field], None, language)
    if f"explanations.{field}" in texts(language):
        return field, {"value": value}
    return "other", {"value": value, "info": setting.description}


def _middle(plan: Plan) -> tuple[int, int, StepCoefficients]:
    """Return t, s and the coefficients of the step t -> s in the middle of the run."""
    t, s = plan.run_pairs[(len(plan.run_pairs) - 1) // 2]
    return t, s, step_coefficients(torch.tensor(t), torch.tensor(s), plan.schedule)


def _sampler(plan: Plan) -> Reading:
    settings = plan.settings
    eta = settings.effective_eta
    if not isinstance(plan.sampler, Ancestral):
        return (settings.sampler, {}) if f"explanations.{settings.sampler}" in texts(DEFAULT) else None
    if eta == 0 or len(plan.run_pairs) == 1:
        return "ddim", {}
    t, s, c = _middle(plan)
    fresh = (c.beta if settings.reverse_variance == "beta" else eta**2 * c.posterior_var).item()
    reused = max(0.0, (c.noise_s**2 - eta**2 * c.posterior_var).item())
    places = {"t": t, "s": s, "share": percent(fresh / (fresh + reused)), "std": number(fresh**0.5)}
    return ("ddpm", places) if settings.sampler == "ddpm" else ("eta", places | {"eta": f"{eta:g}"})


def _steps(plan: Plan) -> Reading:
    t, s, _ = _middle(plan)
    after = 0.0 if s < 0 else plan.schedule.log_sigma[s].exp().item()
    return "steps", {
        "calls": plan.calls, "t": t, "s": s,
        "before": number(plan.schedule.log_sigma[t].exp().item()), "after": number(after),
    }  # fmt: skip


def _spacing(plan: Plan) -> Reading:
    visited = [str(t) for t, _ in plan.run_pairs]
    if len(visited) > 6:
        visited = [*visited[:3], "…", *visited[-3:]]
    key = "spacing" if plan.settings.start == "noise" else "spacing_gaussian"
    return key, {"visited": ", ".join(visited), "signal": percent(plan.signal_left)}


def _start(plan: Plan) -> Reading:
    places = {"t": plan.run_pairs[0][0], "signal": percent(plan.signal_left)}
    if plan.settings.start == "gaussian":
        return "start_gaussian", places
    return ("start_lacks_signal", places) if plan.lacks_signal else None


def _betas(plan: Plan) -> Reading:
    schedule = plan.schedule
    return "betas", {
        "first": number(schedule.betas[0].item()), "last": number(schedule.betas[-1].item()),
        "alpha_bar": number(schedule.alphas_cumprod[-1].item(), 2),
    }  # fmt: skip


def _guidance(plan: Plan) -> Reading:
    if plan.settings.class_label is None:
        return None
    return "guided" if plan.settings.guidance_scale != 1 else "not_guided", {"w": f"{plan.settings.guidance_scale:g}"}


def _seed(plan: Plan) -> Reading:
    settings = plan.settings
    last = settings.seed + settings.num_images - 1
    still = "" if any(is_noisy(s, settings.effective_eta) for _, s in plan.run_pairs) else "_alone"
    key = "seed" if last == settings.seed else "seeds"
    return f"{key}{still}", {"seed": settings.seed, "last": last}


def _clip(plan: Plan) -> Reading:
    return "clipped" if plan.settings.clip_sample else "not_clipped", {}


SENTENCES: dict[str, Callable[[Plan], Reading]] = {
    "sampler": _sampler,
    "num_inference_steps": _steps,
    "timestep_spacing": _spacing,
    "beta_schedule": _betas,
    "conditioning": mismatch,
    "start": _start,
    "guidance_scale": _guidance,
    "seed": _seed,
    "clip_sample": _clip,
}
"""Sentences that need more than the value of their setting, in the order of the page."""
