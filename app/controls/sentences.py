"""Describe in words what a run will do. Pure functions."""

from app.texts import percent, say
from diffusion.plan import Plan
from diffusion.settings import SamplingSettings

NEAR_ONE = 0.005  # a ratio of noise levels within this of 1 is no mismatch

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
        evaluations=f"{plan.evaluations:,}",
        signal=percent(plan.signal_left),
    )
    more = [] if seconds is None else [say(language, "plan.expected", seconds=duration(seconds, language))]
    if found := mismatch(plan):
        more.append(say(language, f"plan.{found[0]}", **found[1]))
    return " ".join([sentence, *more])


def duration(seconds: float, language: str) -> str:
    """Return a duration in words, rounded as an estimate deserves."""
    if seconds < 90:
        return say(language, "plan.seconds", count=f"{seconds:.1g}" if seconds < 10 else round(seconds))
    return say(language, "plan.minutes", count=f"{seconds / 60:.2g}")


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
    return "differs", {"low": f"{ratio.min().item():.2g}", "high": f"{ratio.max().item():.2g}"}


def file_stem(settings: SamplingSettings) -> str:
    """Return the beginning of the names of a run's files."""
    return f"{settings.checkpoint}-{settings.sampler}-{settings.seed}"


def images_count(count: int, language: str) -> str:
    """Return a number of pictures in words."""
    return say(language, "plan.images_one") if count == 1 else say(language, "plan.images_many", count=count)
