"""Describe in words what a run will do. Pure functions."""

import hashlib
from typing import TYPE_CHECKING

from app.controls.codecs import CODECS
from app.controls.spec import field_words, sampler_title
from app.texts import say, say_name
from app.texts.numbers import number, percent
from diffusion.experiments.grid import same_pictures
from diffusion.plan import Plan
from diffusion.settings import SETTINGS, SamplingSettings
from diffusion.sharing.recipe import to_query

if TYPE_CHECKING:
    from app.server.checkpoint_facts import Checkpoint

NEAR_ONE = 0.005  # a ratio of noise levels within this of 1 is no mismatch
# Settings that the line below the pictures names in words of its own
IN_EVERY_LINE = ("checkpoint", "sampler", "num_inference_steps", "seed", "num_images", "class_label")

Reading = tuple[str, dict] | None  # a key of the texts with its values; None if there is nothing to say


def plan_sentence(plan: Plan, language: str, seconds: float | None = None) -> str:
    """Return what a run will do, in words. seconds: its expected duration, if known."""
    settings = plan.settings
    first, last = plan.run_pairs[0][0], plan.run_pairs[-1][0]
    sentence = say(
        language,
        "plan.guided" if plan.is_guided else "plan.run",
        calls=plan.calls,
        images=images_count(settings.num_images, language),
        first=first,
        last=last,
        evaluations=plan.evaluations,
        signal=percent(plan.signal_left),
    )
    more = [] if seconds is None else [say(language, "plan.expected", seconds=duration(seconds, language))]
    if found := mismatch(plan):
        more.append(say(language, f"plan.{found[0]}", **found[1]))
    if plan.lacks_signal:
        more.append(say(language, "plan.lacks_signal", signal=percent(plan.signal_left)))
    elif settings.start == "gaussian":
        more.append(say(language, "plan.gaussian_start"))
    return " ".join([sentence, *more])


def plan_summary(plan: Plan, language: str, seconds: float | None = None) -> str:
    """Return the first sentence about a run: steps, pictures and, if known, seconds; and below it what will go wrong.

    Everything else about the run is in `plan_sentence`.
    """
    counts = {"steps": len(plan.run_pairs), "pictures": plan.settings.num_images}
    if seconds is None:
        lines = [say(language, "plan.summary", **counts)]
    else:
        lines = [say(language, "plan.timed", seconds=duration(seconds, language), **counts)]
    if (found := mismatch(plan)) and found[0] != "agrees":
        lines.append(say(language, f"plan.{found[0]}", **found[1]))
    if plan.lacks_signal:
        lines.append(say(language, "plan.lacks_signal", signal=percent(plan.signal_left)))
    return "\n".join(lines)


def duration(seconds: float, language: str) -> str:
    """Return a duration in words, rounded as an estimate deserves."""
    if seconds < 90:
        return say(language, "plan.seconds", count=number(seconds, 1) if seconds < 10 else round(seconds))
    return say(language, "plan.minutes", count=number(seconds / 60, 2))


def mismatch(plan: Plan) -> Reading:
    """Return how the noise level that the network is conditioned on differs from the actual one.

    None on the trained betas, where they are the same.
    """
    if plan.on_trained_betas:
        return None
    ratio = plan.noise_levels.mismatch
    off = (ratio - 1).abs() > NEAR_ONE
    if not bool(off.any()):
        return "agrees", {}
    if plan.settings.conditioning == "matched":
        return "beyond", {"count": int(off.sum()), "calls": len(ratio)}
    return "differs", {"low": number(ratio.min().item(), 2), "high": number(ratio.max().item(), 2)}


def made_line(plan: Plan, checkpoint: "Checkpoint", language: str) -> str:
    """Return the settings that made pictures in one line: what every run has, then what is not as usual."""
    settings = plan.settings
    last = settings.seed + settings.num_images - 1
    seeds = str(settings.seed) if last == settings.seed else f"{settings.seed}–{last}"
    name, sampler = say_name(language, "checkpoints", checkpoint.name), sampler_title(settings.sampler, language)
    parts = [
        say(language, "stage.made", checkpoint=name, sampler=sampler, steps=settings.num_inference_steps, seed=seeds)
    ]
    return " · ".join([*parts, *unusual(settings, checkpoint, language)])


def unusual(settings: SamplingSettings, checkpoint: "Checkpoint", language: str) -> list[str]:
    """Return the settings of a run that are not as usual, with the class if it has a single one."""
    facts, parts = settings.facts | {"classes": checkpoint.classes}, []
    if isinstance(settings.class_label, int):
        parts.append(CODECS["class_label"].value_words(settings.class_label, checkpoint, language))
    for field, setting in SETTINGS.items():
        value, control = facts[field], setting.control
        usual = (setting.default, control and control.default, getattr(checkpoint, field, None))  # the last: as trained
        if field not in IN_EVERY_LINE and value is not None and value not in usual and setting.holds(facts):
            said = CODECS[field].value_words(value, checkpoint, language)
            parts.append(say(language, "stage.made_with", name=field_words(field, language), value=said))
    return parts


def pictures_key(plan: Plan) -> str:
    """Return a key that is equal for all runs that make the same pictures, in whatever words."""
    same = same_pictures(plan).replace(class_label=None, guidance_scale=1.0)
    guidance = plan.settings.guidance_scale if plan.class_labels else 1.0
    text = f"{to_query(same)} {plan.class_labels} {guidance}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_name(settings: SamplingSettings, *more: str) -> str:
    """Return the name of a file with all pictures of a run. more: further parts of the name."""
    return f"{'-'.join([str(settings.checkpoint), settings.sampler, str(settings.seed), *more])}.png"


def images_count(count: int, language: str) -> str:
    """Return a number of pictures in words."""
    return say(language, "plan.images_one") if count == 1 else say(language, "plan.images_many", count=count)
