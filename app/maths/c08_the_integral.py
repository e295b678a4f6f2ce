"""Chapter 8, the integral: a squared error, written in three forms, and the weight of each step."""

import torch

from app.maths.chapter import Chapter, Control, Experiment, Parts, Say
from app.maths.figures import table
from app.maths.grids import evenly_on_log
from app.maths.scene import Scene
from app.texts.numbers import number, percent
from app.ui.charts import EXACT, NETWORK, NOISE, PLAIN, Axis, Chart, Layer
from diffusion.derivation.c08_the_integral import eps_weights, gaussian_kl, three_forms, weight_shares

SEED = 0
PICTURES = 4
POINTS = 481  # of the quadrature and the curves: steps of 0.05, exact for Gaussians as wide as q
X_RANGE = (-5.0, 9.0)  # of the plots of the densities and the integrand


def one_square(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the KL of two Gaussians, q of variance 1: the integral beside the formula."""
    kl = gaussian_kl(0.0, 1.0, values["gap"], 10.0 ** -values["log_ratio"], POINTS)
    seen = (kl.x >= X_RANGE[0]) & (kl.x <= X_RANGE[1])
    x = kl.x[seen].tolist()
    densities = Chart(
        alt=say("densities_alt"),
        x=Axis(say("x"), domain=X_RANGE),
        y=Axis(),
        layers=[
            Layer("line", say("q"), EXACT, x, kl.q[seen].tolist()),
            Layer("line", say("p"), NETWORK, x, kl.p[seen].tolist()),
        ],
    )
    integrand = Chart(
        alt=say("integrand_alt"),
        x=Axis(say("x"), domain=X_RANGE),
        y=Axis(say("integrand")),
        layers=[Layer("area", say("integrand"), PLAIN, x, kl.integrand[seen].tolist(), opacity=0.6)],
    )
    rows = [
        (say("mean_part"), number(kl.mean_nats, 7)),
        (say("var_part"), number(kl.var_nats, 7)),
        (say("closed"), f"**{number(kl.closed_nats, 11)}**"),
        (say("quadrature"), f"**{number(kl.quadrature_nats, 11)}**"),
    ]
    return densities, integrand, table([say("part"), say("nats")], rows)


def three_readings(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the term of a few pictures in its three forms, from one network call."""
    pictures, labels = scene.test_pictures
    x_0 = pictures[:PICTURES]
    denoiser = scene.denoiser(None if labels is None else labels[:PICTURES])
    eps = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(SEED))
    clip = values["clip"] == "on"
    forms = three_forms(denoiser, x_0, eps, values["t"] - 1, clip, values["variance"])
    ends = torch.cat([forms.by_pictures, forms.by_noises]).aminmax()
    domain = (ends.min.item() / 1.5, ends.max.item() * 1.5)
    chart = Chart(
        alt=say("forms_alt"),
        x=Axis(say("by_pictures_axis"), log=True, domain=domain),
        y=Axis(say("by_noises_axis"), log=True, domain=domain),
        layers=[
            Layer("line", say("diagonal"), PLAIN, domain, domain, dashed=True),
            Layer("point", say("pictures"), NETWORK, forms.by_pictures.tolist(), forms.by_noises.tolist()),
        ],
    )
    rows = [
        (say("means"), f"{forms.by_means.mean():.10g}"),
        (say("x_0_form"), f"{forms.by_pictures.mean():.10g}"),
        (say("eps_form"), f"{forms.by_noises.mean():.10g}"),
        (say("constant"), f"{forms.constant:.6g}"),
    ]
    least, most = forms.noises_over_pictures.aminmax()
    said = (
        say("depart", least=f"{least:.4g}", most=f"{most:.4g}")
        if clip
        else say("agree", most=number(forms.difference, 1))
    )
    return chart, "\n\n".join([table([say("form"), say("mean_nats")], rows), said])


def where_the_effort_goes(scene: Scene, values: dict, say: Say) -> Parts:
    """Show each step's share of the weight in three objectives."""
    t = values["t"]
    shares, grid = weight_shares(scene.schedule), evenly_on_log(scene.T)
    kinds = {
        "posterior": (shares.posterior, EXACT),
        "beta": (shares.beta, NOISE),
        "simple": (shares.simple, NETWORK),
    }
    chart = Chart(
        alt=say("weights_alt"),
        x=Axis("t", log=True),
        y=Axis(say("share"), log=True),
        layers=[
            Layer("line", say(f"{kind}_weight"), color, (grid + 1).tolist(), share[grid].tolist())
            for kind, (share, color) in kinds.items()
        ],
        marks=[(t, f"t = {t}")],
    )
    weights = {
        "posterior": eps_weights(scene.schedule, "posterior"),
        "beta": eps_weights(scene.schedule, "beta"),
        "simple": torch.ones(scene.T),
    }
    rows = []
    for kind, (share, _) in kinds.items():
        has_decoder = t == 1 and kind != "simple"
        at_t = say("infinite") if has_decoder else f"{weights[kind][t - 1]:.4g}"
        rows.append((say(f"{kind}_formula"), at_t, percent(share[:t].sum().item())))
    return chart, table([say("objective"), say("at_t", t=t), say("up_to", t=t)], rows)


VARIANCE = Control("variance", "posterior", choices=("posterior", "beta"))
CHAPTER = Chapter(
    "08-the-integral",
    (
        Experiment(
            "one-square",
            ("plot", "plot", "text"),
            one_square,
            (Control("gap", 1.5, maximum=4, step=0.1), Control("log_ratio", 0.0, minimum=-1, maximum=1, step=0.1)),
        ),
        Experiment(
            "three-forms",
            ("plot", "text"),
            three_readings,
            (Control("t", 900, minimum=2), Control("clip", "off", choices=("off", "on")), VARIANCE),
        ),
        Experiment("the-weights", ("plot", "text"), where_the_effort_goes, (Control("t", 20, minimum=1),)),
    ),
)
