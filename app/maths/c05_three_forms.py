"""Chapter 5, three forms of the bound: one total three times, and where the bits go when the first beta is 0."""

import torch

from app.maths.chapter import Chapter, Control, Experiment, Parts, Say
from app.maths.figures import power_of_ten, table
from app.maths.grids import evenly_on_log
from app.maths.scene import Scene
from app.ui.charts import EXACT, NETWORK, NOISE, PICTURE, PLAIN, Axis, Chart, Layer
from diffusion.derivation.c02_the_goal import gaussian_toy
from diffusion.derivation.c05_three_forms import first_beta, gaussian_forms, prior_bpd
from diffusion.trajectory import visited_timesteps

FEW = 60  # chains of at most this many steps get points too
LEAST_LOG_BETA, MOST_LOG_BETA, BETAS = -8, -2, 61


def three_ways(scene: Scene, values: dict, say: Say) -> Parts:
    """Show every term of the toy's bound in its three forms, and that their sums agree."""
    timesteps = visited_timesteps(min(values["steps"], scene.T), scene.T)
    forms = gaussian_forms(
        gaussian_toy(values["std"], timesteps, values["variance"], scene.schedule), values["std"], scene.schedule
    )
    t = (forms.t[:-1] + 1).flip(0)
    keep = evenly_on_log(len(t))
    kinds = ("line", "point") if len(t) <= FEW else ("line",)
    named = (("first", forms.first, NOISE), ("second", forms.second, EXACT), ("third", forms.third, PLAIN))
    charts = [
        Chart(
            alt=say("forms_alt"),
            x=Axis("t", log=True),
            y=Axis(say("nats")),
            layers=[
                Layer(kind, say(name), color, t[keep].tolist(), form.steps[:-1].flip(0)[keep].tolist())
                for name, form, color in shown
                for kind in kinds
            ],
            levels=[(0, "")],
        )
        for shown in (named, (named[0], named[2]))
    ]
    rows = [
        [say(f"row_{name}")]
        + [
            f"{number:.4f}"
            for number in (form.start, form.steps[:-1].sum().item(), form.steps[-1].item(), form.rest, form.total)
        ]
        for name, form, _ in named
    ]
    heads = [say(key) for key in ("form", "start", "middle", "last", "entropy", "total")]
    said = say(
        "three_said",
        lowest=f"{forms.first.steps[:-1].min():.4f}",
        information=f"{forms.information_nats[:-1].sum():.3f}",
    )
    return *charts, f"{table(heads, rows)}\n\n{said}"


def moving_bits(scene: Scene, values: dict, say: Say) -> Parts:
    """Show L_0 and L_1 of one pixel over the first beta."""
    beta_1 = 10 ** values["log_beta"]
    curve = first_beta(torch.logspace(LEAST_LOG_BETA, MOST_LOG_BETA, BETAS, dtype=torch.float64), scene.schedule)
    here = first_beta(torch.tensor([beta_1], dtype=torch.float64), scene.schedule)
    betas = curve.beta_1.tolist()
    chart = Chart(
        alt=say("beta_alt"),
        x=Axis(say("beta_1"), log=True),
        y=Axis(say("bits")),
        layers=[
            Layer("line", "L₀", PICTURE, betas, curve.L_0_bpd.tolist()),
            Layer("line", "L₁", NOISE, betas, curve.L_1_bpd.tolist()),
            Layer("line", say("sum"), NETWORK, betas, curve.sum_bpd.tolist()),
            Layer("line", say("floor"), EXACT, betas, curve.floor_bpd.tolist(), dashed=True),
        ],
        marks=[(beta_1, f"{beta_1:.2g}")],
    )
    pictures, _ = scene.training_pictures
    said = say(
        "beta_said",
        beta=power_of_ten(beta_1),
        l_1=f"{here.L_1_bpd.item():.3f}",
        l_0=f"{here.L_0_bpd.item():.3f}",
        sum=f"{here.sum_bpd.item():.3f}",
        floor=f"{here.floor_bpd.item():.3f}",
        prior=f"${power_of_ten(prior_bpd(pictures.square().mean().item(), scene.schedule))}$",
    )
    return chart, said


CHAPTER = Chapter(
    "05-three-forms",
    (
        Experiment(
            "three-ways",
            ("plot", "plot", "text"),
            three_ways,
            (
                Control("std", 0.5, minimum=0.1, maximum=1.5, step=0.05),
                Control("steps", 1000, minimum=2),
                Control("variance", "beta", choices=("beta", "posterior", "analytic")),
            ),
        ),
        Experiment(
            "first-beta",
            ("plot", "text"),
            moving_bits,
            (Control("log_beta", -4, minimum=LEAST_LOG_BETA, maximum=MOST_LOG_BETA, step=0.1),),
            wide=True,
        ),
    ),
)
