"""Runs worth a first tap, as links: the page opens with their settings and starts. Texts: "quick.NAME"."""

from collections.abc import Callable
from html import escape
from urllib.parse import urlencode

from app.server.checkpoint_facts import Checkpoint
from app.texts import say
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import to_query


def _few_steps(settings: SamplingSettings, checkpoint: Checkpoint) -> str:
    steps = min(8, checkpoint.num_train_timesteps)
    return _opened(settings, sampler="unipc", eta=None, num_inference_steps=steps, timestep_spacing="power")


def _against(settings: SamplingSettings, checkpoint: Checkpoint) -> str:
    return urlencode({"tab": "compare", "preset": "ddpm-ddim", "checkpoint": checkpoint.name})


def _naive_betas(settings: SamplingSettings, checkpoint: Checkpoint) -> str | None:
    """Return the run on half the trained betas, as in the comparison "betas"; None where the betas have no range."""
    if checkpoint.beta_start is None:
        return None
    betas = {
        "beta_schedule": checkpoint.beta_schedule,
        "beta_start": checkpoint.beta_start,
        "beta_end": max(checkpoint.beta_end / 2, checkpoint.beta_start),
    }
    return _opened(settings, **betas, sampler="ddim", eta=None, timestep_spacing="trailing", conditioning="naive")


QUICK: dict[str, Callable[[SamplingSettings, Checkpoint], str | None]] = {
    "few-steps": _few_steps,
    "ddpm-ddim": _against,
    "naive": _naive_betas,
}
"""By name, in the order of the page: the query of the link, for the settings on the page and their checkpoint."""


def quick_links(settings: SamplingSettings, checkpoint: Checkpoint, language: str) -> str:
    """Return the links as HTML. What they don't set is as on the page."""
    links = "".join(
        f'<a href="?{escape(query)}" data-starts>{escape(say(language, f"quick.{name}"))}</a>'
        for name, make in QUICK.items()
        if (query := make(settings, checkpoint))
    )
    label = escape(say(language, "quick.label"))
    return f'<nav class="quick" aria-label="{label}"><span aria-hidden="true">{label}</span>{links}</nav>'


def _opened(settings: SamplingSettings, **changes) -> str:
    trained = dict.fromkeys(("beta_schedule", "beta_start", "beta_end"))
    plain = {"reverse_variance": "posterior", "conditioning": "matched", "start_step": 0}
    return to_query(settings.replace(**(trained | plain | changes)))
