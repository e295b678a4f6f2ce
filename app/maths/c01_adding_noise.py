"""Chapter 1, adding noise: chain and jump, and whose noise is in the picture."""

import torch
from torch import Tensor

from app.maths.chapter import Chapter, Control, Experiment, Parts, Say
from app.maths.figures import figures, table
from app.maths.grids import evenly, evenly_on_log
from app.maths.scene import Scene
from app.texts.numbers import number, percent
from app.ui.charts import NETWORK, NOISE, PICTURE, Axis, Chart, Layer
from diffusion.derivation.c01_adding_noise import (
    chain_moments,
    last_step_correlation,
    noise_shares,
    schedule_size,
    step_noises,
    two_ways,
)
from diffusion.gaussian import signal_and_noise

SEED = 0
MAGNIFIED = 1e14
REPLICAS = 4  # copies of the picture that walk the chain for the scores
SCORED = 9  # timesteps that are scored


def _picture(scene: Scene, number: int) -> Tensor:
    return scene.test_picture(number)[0][0].double()


def chain_and_jump(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the same x_t by t + 1 steps and by one jump."""
    x_0, t = _picture(scene, values["picture"]), values["t"] - 1
    noises = step_noises(x_0.shape, t + 1, torch.Generator().manual_seed(SEED))
    both = two_ways(x_0, t, noises, scene.schedule)
    most = both.difference.abs().max().item()
    signal, noise = signal_and_noise(t, scene.schedule)
    shown = figures(
        [
            (x_0, say("x_0")),
            (both.chain, say("chain", steps=t + 1)),
            (both.jump, say("jump")),
            (both.difference * MAGNIFIED, say("difference")),
        ]
    )
    said = say("agree", most=number(most, 2), signal=f"{signal:.4f}", noise=f"{noise:.4f}", pixels=x_0.numel())
    return shown, said


def whose_noise(scene: Scene, values: dict, say: Say) -> Parts:
    """Show each step's share of the noise in x_t, and the last step's correlation with the whole noise."""
    t = values["t"] - 1
    shares = noise_shares(t, scene.schedule)
    keep = evenly(t + 1)
    correlation = last_step_correlation(scene.schedule)
    grid = evenly_on_log(scene.T)
    bars = Chart(
        alt=say("shares_alt"),
        x=Axis(say("step")),
        y=Axis(say("share")),
        layers=[Layer("area", say("share"), NOISE, (keep + 1).tolist(), shares[keep].tolist(), opacity=0.8)]
        if t
        else [Layer("bar", say("share"), NOISE, [1.0], [1.0])],
    )
    curve = Chart(
        alt=say("correlation_alt"),
        x=Axis("t", log=True),
        y=Axis(say("correlation"), domain=(0, 1)),
        layers=[Layer("line", say("correlation"), NETWORK, (grid + 1).tolist(), correlation[grid].tolist())],
        marks=[(t + 1, f"{correlation[t]:.3f}")],
    )
    return bars, curve, say("share_said", t=t + 1, last=percent(shares[-1].item()), corr=f"{correlation[t]:.3f}")


def how_much(scene: Scene, values: dict, say: Say) -> Parts:
    """Show signal and noise over t, and the quantities that the schedule fixes."""
    grid = evenly(scene.T)
    signal, noise = signal_and_noise(grid, scene.schedule)
    chart = Chart(
        alt=say("levels_alt"),
        x=Axis("t"),
        y=Axis(domain=(0, 1)),
        layers=[
            Layer("line", say("signal"), PICTURE, (grid + 1).tolist(), signal.tolist()),
            Layer("line", say("noise"), NOISE, (grid + 1).tolist(), noise.tolist()),
        ],
    )
    size = schedule_size(scene.schedule)
    scores = chain_moments(
        _picture(scene, 1),
        torch.linspace(0, scene.T - 1, SCORED).round().long().tolist(),
        REPLICAS,
        torch.Generator().manual_seed(SEED),
        scene.schedule,
    )
    rows = [
        (r"$\sqrt{\beta_1}$", say("grey", levels=f"{size.first_std_grey:.3g}")),
        (r"$\sqrt{\beta_T}$", say("grey", levels=f"{size.last_std_grey:.3g}")),
        (r"$-\ln\bar\alpha_T$", f"{size.total:.4g}"),
        (r"$\sum_t\beta_t$", f"{size.sum_of_betas:.4g}"),
        (r"$\sqrt{\bar\alpha_T}$", f"{size.signal_left:.3g}"),
        (say("worst_score", numbers=f"{scores.count:,}"), f"{scores.worst:.2f}"),
    ]
    return chart, table([say("quantity"), say("value")], rows)


T_SLIDER = Control("t", 500, minimum=1)
CHAPTER = Chapter(
    "01-adding-noise",
    (
        Experiment(
            "chain-and-jump",
            ("html", "text"),
            chain_and_jump,
            (T_SLIDER, Control("picture", 1, minimum=1, maximum=16)),
            wide=True,
        ),
        Experiment("whose-noise", ("plot", "plot", "text"), whose_noise, (T_SLIDER,)),
        Experiment("how-much", ("plot", "text"), how_much),
    ),
)
