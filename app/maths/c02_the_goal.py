"""Chapter 2, the goal: the two directions of KL, and a model whose truth, bound and gap are all known."""

from functools import cache

import torch

from app.maths.chapter import Chapter, Control, Experiment, Parts, Say
from app.maths.figures import table
from app.maths.scene import Scene
from app.ui.charts import EXACT, NETWORK, NOISE, PICTURE, PLAIN, Axis, Chart, Layer
from diffusion.derivation.c02_the_goal import (
    TWO_HILLS,
    Divergence,
    GaussianToy,
    Mixture,
    closest_gaussian,
    divergence,
    gaussian_toy,
)
from diffusion.trajectory import visited_timesteps

SHOWN_REACH = 6.0  # the plots show x within +- this
EVERY = 8  # a curve is drawn through every eighth point of the integral's grid
VARIANCES = ("beta", "analytic", "posterior")
STEP_COUNTS = (2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
HEADROOM = 1.5  # of the bar plot's y axis, over the taller bar of the two variances whose bound stays small
LEAST_GAP = 1e-6  # that is shown; smaller gaps are rounding, or nearly

closest = cache(closest_gaussian)


def directions(scene: Scene, values: dict, say: Say) -> Parts:
    """Show two hills and a Gaussian: the one of least KL in either direction, or the visitor's own."""
    gaussians = {
        "forward": closest(TWO_HILLS, "forward"),
        "reverse": closest(TWO_HILLS, "reverse"),
        "yours": Mixture.gaussian(values["mean"], values["std"]),
    }
    found = {name: divergence(TWO_HILLS, p) for name, p in gaussians.items()}
    name = values["gaussian"]
    chosen = found[name]
    (mean,), (std,) = gaussians[name].means, gaussians[name].stds
    said = say(
        "chosen", kl=f"{chosen.forward_nats:.3f}", cross=f"{chosen.cross_entropy_nats:.3f}",
        entropy=f"{chosen.entropy_nats:.3f}", mean=f"{mean:z.3f}", std=f"{std:.3f}",
    )  # fmt: skip
    rows = [(say(key), f"{one.forward_nats:.3f}", f"{one.reverse_nats:.3f}") for key, one in found.items()]
    numbers = table([say("which"), say("kl_forward"), say("kl_reverse")], rows)
    return _densities(found, name, say), _integrand(chosen, say), f"{said}\n\n{numbers}"


def _shown(one: Divergence) -> torch.Tensor:
    return torch.nonzero(one.x.abs() <= SHOWN_REACH).flatten()[::EVERY]


def _densities(found: dict[str, Divergence], chosen: str, say: Say) -> Chart:
    layers = []
    for name, one in found.items():
        if name != chosen:
            keep = _shown(one)
            layers.append(Layer("line", say("others"), PLAIN, one.x[keep].tolist(), one.p[keep].tolist(), dashed=True))
    one = found[chosen]
    keep = _shown(one)
    x = one.x[keep].tolist()
    layers.insert(0, Layer("area", say("data"), PICTURE, x, one.q[keep].tolist(), opacity=0.35))
    layers.append(Layer("line", say("model"), NETWORK, x, one.p[keep].tolist()))
    return Chart(alt=say("densities_alt"), x=Axis(say("x")), y=Axis(say("density")), layers=layers)


def _integrand(one: Divergence, say: Say) -> Chart:
    keep = _shown(one)
    x, y = one.x[keep].tolist(), one.forward_integrand[keep]
    return Chart(
        alt=say("integrand_alt"),
        x=Axis(say("x")),
        y=Axis(say("integrand")),
        layers=[
            Layer("area", say("above"), EXACT, x, y.clamp(min=0).tolist(), opacity=0.6),
            Layer("area", say("below"), NOISE, x, y.clamp(max=0).tolist(), opacity=0.6),
        ],
    )


def truth_and_bound(scene: Scene, values: dict, say: Say) -> Parts:
    """Show entropy, model KL and gap of the Gaussian toy: one denoiser, three reverse variances."""
    std, steps = values["spread"], min(values["steps"], scene.T)
    toys = {name: _toy(std, steps, name, scene) for name in VARIANCES}
    rows = [
        (say(name), f"{toy.nll_nats:.4f}", f"{toy.gap_nats:z.4f}", f"**{toy.bound_nats:.4f}**")
        for name, toy in toys.items()
    ]
    numbers = table([say("variance"), say("truth"), say("gap"), say("bound")], rows)
    said = say("toy_said", entropy=f"{toys['beta'].entropy_nats:.4f}", steps=steps)
    return _bars(toys, say), _gaps(std, steps, scene, say), f"{said}\n\n{numbers}\n\n{say('toy_note')}"


def _toy(std: float, steps: int, variance: str, scene: Scene) -> GaussianToy:
    return gaussian_toy(std, visited_timesteps(steps, scene.T), variance, scene.schedule)


def _bars(toys: dict[str, GaussianToy], say: Say) -> Chart:
    places = [float(place) for place in range(1, len(toys) + 1)]
    entropy, truth, bound = (
        [getattr(toy, name) for toy in toys.values()] for name in ("entropy_nats", "nll_nats", "bound_nats")
    )
    top = HEADROOM * max(bound[: VARIANCES.index("posterior")])
    return Chart(
        alt=say("bars_alt"),
        x=Axis(domain=(0.5, len(toys) + 0.5), values=places, labels=[say(f"tick_{name}") for name in toys]),
        y=Axis(say("nats"), domain=(0, top)),
        layers=[
            Layer("bar", say("entropy"), PICTURE, places, entropy, width=0.6),
            Layer("bar", say("goal"), NETWORK, places, truth, width=0.6, base=entropy),
            Layer("bar", say("gap"), PLAIN, places, bound, width=0.6, base=truth),
        ],
    )


def _gaps(std: float, steps: int, scene: Scene, say: Say) -> Chart:
    counts = [count for count in STEP_COUNTS if count <= scene.T]
    layers = []
    for name, color in (("beta", NOISE), ("posterior", EXACT)):
        toys = [_toy(std, count, name, scene) for count in counts]
        layers += [
            Layer("line", say(f"gap_{name}"), color, counts, [toy.gap_nats for toy in toys]),
            Layer("line", say(f"goal_{name}"), color, counts, [toy.model_kl_nats for toy in toys], dashed=True),
        ]
    most = max(value for layer in layers for value in layer.y)
    return Chart(
        alt=say("gaps_alt"),
        x=Axis(say("steps"), log=True),
        y=Axis(say("nats"), log=True, domain=(LEAST_GAP, 2 * most)),
        layers=layers,
        marks=[(steps, f"S = {steps}")],
    )


CHAPTER = Chapter(
    "02-the-goal",
    (
        Experiment(
            "directions",
            ("plot", "plot", "text"),
            directions,
            (
                Control("gaussian", "forward", choices=("forward", "reverse", "yours")),
                Control("mean", 1.0, minimum=-4, maximum=4, step=0.05),
                Control("std", 1.0, minimum=0.2, maximum=4, step=0.05),
            ),
        ),
        Experiment(
            "truth-and-bound",
            ("plot", "plot", "text"),
            truth_and_bound,
            (
                Control("spread", 0.5, minimum=0.25, maximum=2, step=0.05),
                Control("steps", 20, minimum=2),
            ),
        ),
    ),
)
