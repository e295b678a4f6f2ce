"""Limits of this server on one request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.server.options import Options
from app.texts.messages import Refusal

if TYPE_CHECKING:
    from diffusion.experiments.grid import Job
    from diffusion.plan import Plan
    from diffusion.settings import SamplingSettings


def check_images(settings: SamplingSettings, options: Options) -> None:
    """Check the number of pictures. Raises Refusal if it is more than this server makes at once."""
    if settings.num_images > options.max_images:
        raise Refusal("images", most=options.max_images, got=settings.num_images)


def check_cost(options: Options, *plans: Plan | Job) -> None:
    """Check the size of runs together. Raises Refusal if it is more than this server allows in one request."""
    check_evaluations(options, sum(plan.evaluations for plan in plans))


def check_evaluations(options: Options, asked: int) -> None:
    """Check a number of pictures that go through the network. Raises Refusal if it is more than `max_cost`."""
    if asked > options.max_cost:
        raise Refusal("cost", asked=f"{asked:,}", most=f"{options.max_cost:,}")
