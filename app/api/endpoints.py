"""The public endpoints, each declared once: for Gradio, and for the page that describes them."""

from collections.abc import Callable
from dataclasses import dataclass

from app.api.bound import make_bound
from app.api.explore import make_explore, make_frontier
from app.api.runs import make_compare, make_generate, make_schedule
from app.server.services import Services


@dataclass(frozen=True)
class Endpoint:
    """An endpoint. make: returns the function behind it; its docstring has the parts that `gr.api` reads.

    example(checkpoint): arguments of a quick call. answer: names for what it returns, in an example. runs: whether it
    calls the network, and so waits for its turn. draws_seed: whether a seed of -1 draws one.
    """

    name: str
    make: Callable[[Services], Callable]
    example: Callable[[str], dict]
    answer: str
    runs: bool = True
    draws_seed: bool = True


ENDPOINTS = (
    Endpoint(
        "generate", make_generate, lambda name: dict(checkpoint=name, num_inference_steps=10, seed=7), "images, run"
    ),
    Endpoint(
        "compare",
        make_compare,
        lambda name: {
            "a": dict(checkpoint=name, num_inference_steps=10),
            "b": dict(checkpoint=name, num_inference_steps=10, sampler="ddpm"),
        },
        "a, b, found",
    ),
    Endpoint(
        "explore",
        make_explore,
        lambda name: dict(
            axes=dict(num_inference_steps="2, 5", sampler=["ddim", "ddpm"]), settings=dict(checkpoint=name)
        ),
        "cells, totals",
    ),
    Endpoint(
        "frontier",
        make_frontier,
        lambda name: dict(
            settings=dict(checkpoint=name), num_inference_steps="2, 5", samplers="ddim, heun", samples=20
        ),
        "quality",
    ),
    Endpoint("schedule", make_schedule, lambda name: dict(checkpoint=name, num_inference_steps=5), "plan", runs=False),
    Endpoint(
        "bound", make_bound, lambda name: dict(checkpoint=name, picture=1, evaluations=64), "bound", draws_seed=False
    ),
)
