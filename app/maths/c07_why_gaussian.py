"""Chapter 7, why Gaussian: a kernel that splits, the sum over a chain, pictures under the bumps, the map of breaks."""

from functools import lru_cache

import torch

from app.maths.chapter import Chapter, Control, Experiment, Parts, Say
from app.maths.figures import figures
from app.maths.grids import POINTS
from app.maths.scene import Scene
from app.texts.numbers import percent
from app.ui.charts import EXACT, NETWORK, NOISE, PICTURE, PLAIN, Axis, Chart, Layer, blank
from diffusion.derivation.c07_why_gaussian import (
    KL_RESOLUTION_NATS,
    GaussianKind,
    KlCurve,
    chain_kl,
    count_hills,
    kl_against_beta,
    split_beta,
    view_kernel,
)
from diffusion.derivation.data_limits import breaks, steps_needed
from diffusion.derivation.line_mixture import LineMixture
from diffusion.derivation.projection import heaviest_line
from diffusion.exact import DataDenoiser
from diffusion.gaussian import q_sample
from diffusion.sampling import noise_like
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import visited_timesteps

SEED = 0
HILLS, WIDTH = (-1.0, 1.0), 0.4
LEAST_LOG_BETA, MOST_LOG_BETA, BETAS = -4.0, -0.05, 24
STEPS = (4, 8, 16, 32)
KL_DOMAIN = (KL_RESOLUTION_NATS, 10.0)
SHOWN, LEAST_SHARE = 6, 1e-4  # pictures under the bumps: at most this many, with at least this weight
LEAST_STEPS = 2  # at the bottom of the break map
BROKEN = {"below_01": 0.1, "below_1": 1.0, "below_10": 10.0}  # u_max


def _data(width: float = WIDTH) -> LineMixture:
    return LineMixture.of(list(HILLS), [width] * len(HILLS))


@lru_cache(maxsize=1)
def _mean_curve() -> KlCurve:
    return kl_against_beta(_data(), _betas())


def _betas() -> torch.Tensor:
    return torch.logspace(LEAST_LOG_BETA, MOST_LOG_BETA, BETAS, dtype=torch.float64)


def one_step(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the exact kernel, the Gaussians in its place, and their cost against beta."""
    beta, x_t = 10 ** values["log_beta"], values["x_t"]
    view, curve = view_kernel(_data(), x_t, beta, points=POINTS), _mean_curve()
    here = kl_against_beta(_data(), _betas(), x_t)
    x, betas = view.x.tolist(), curve.beta.tolist()
    densities = Chart(
        alt=say("kernel_alt"),
        x=Axis(say("x")),
        y=Axis(),
        layers=[
            Layer("area", say("exact"), EXACT, x, view.exact.tolist(), opacity=0.45),
            Layer("line", say("best"), NETWORK, x, view.densities["best"].tolist()),
            Layer("line", say("with_beta"), NOISE, x, view.densities["beta"].tolist(), dashed=True),
            Layer("line", say("with_posterior"), PICTURE, x, view.densities["posterior"].tolist(), dashed=True),
        ],
    )
    cost = Chart(
        alt=say("kl_alt"),
        x=Axis(say("beta_axis"), log=True),
        y=Axis(say("kl"), log=True, domain=KL_DOMAIN),
        layers=[
            Layer("line", say("theorem"), PLAIN, betas, curve.theorem_bound_nats.tolist(), dashed=True),
            Layer("line", say("mean_beta"), NOISE, betas, curve.nats["beta"].tolist()),
            Layer("line", say("mean_best"), NETWORK, betas, curve.nats["best"].tolist()),
            Layer("line", say("here_best"), NETWORK, betas, here.nats["best"].tolist(), dashed=True, opacity=0.6),
        ],
        marks=[(beta, f"{beta:.2g}")],
    )
    said = say(
        "one_said",
        beta=f"{beta:.2g}",
        x_t=f"{x_t:g}",
        hills=say("hills_1" if view.hills == 1 else "hills_2"),
        best=_nats(view.kl_nats["best"]),
        with_beta=_nats(view.kl_nats["beta"]),
        split=f"{split_beta(_data()):.4f}",
        slope_best=f"{curve.slope('best')[BETAS // 4]:.2f}",
        slope_fixed=f"{curve.slope('beta')[BETAS // 4]:.2f}",
    )
    return densities, cost, said


def _nats(value: float) -> str:
    return f"{value:.3g}" if value > KL_RESOLUTION_NATS else r"$\lt10^{-10}$"


def whole_chain(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the sum of the KLs of all steps, over the number of steps."""
    steps = [S for S in STEPS if S <= scene.T] or [scene.T]
    sums = [_chain_sums(tuple(scene.schedule.betas.tolist()), S, values["width"]) for S in steps]
    named: tuple[tuple[GaussianKind, str], ...] = (("best", NETWORK), ("beta", NOISE))
    chart = Chart(
        alt=say("chain_alt"),
        x=Axis(say("steps_axis"), log=True, values=steps),
        y=Axis(say("sum_kl"), log=True),
        layers=[
            Layer(shape, say(f"chain_{kind}"), color, steps, [one[kind] for one in sums])
            for kind, color in named
            for shape in ("line", "point")
        ],
    )
    few, many, before = sums[0], sums[-1], sums[max(0, len(sums) - 3)]
    said = say(
        "chain_said",
        few_best=f"{few['best']:.2g}",
        few_beta=f"{few['beta']:.2g}",
        many=steps[-1],
        many_best=f"{many['best']:.2g}",
        many_beta=f"{many['beta']:.2g}",
        factor=f"{before['beta'] / many['beta']:.2g}",
    )
    return chart, said


@lru_cache(maxsize=256)
def _chain_sums(betas: tuple[float, ...], steps: int, width: float) -> dict[GaussianKind, float]:
    schedule = NoiseSchedule(torch.tensor(betas, dtype=torch.float64))
    return chain_kl(_data(width), schedule, visited_timesteps(steps, len(schedule))).totals_nats


def bumps(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the exact reverse step of a noisy picture along one line, with the pictures that lie there."""
    training, _ = scene.training_pictures
    x_0 = scene.test_picture(values["picture"])[0].double()
    t = values["t"] - 1
    s = max(t - max(1, round(scene.T / int(values["steps"]))), 0)
    x_t = q_sample(x_0, torch.tensor(t), noise_like(x_0, [torch.Generator().manual_seed(SEED)]), scene.schedule)
    line = heaviest_line(DataDenoiser(training, scene.schedule), x_t[0], t, s, shown=SHOWN, points=POINTS)
    likely = line.weights > LEAST_SHARE
    likely[:2] = True
    order = line.positions[likely].argsort()
    shares, places, which = (one[likely][order] for one in (line.weights, line.positions, line.pictures))
    chart = Chart(
        alt=say("line_alt"),
        x=Axis(say("along")),
        y=Axis(say("density")),
        layers=[
            Layer("area", say("exact"), EXACT, line.x.tolist(), line.exact.tolist(), opacity=0.45),
            Layer("line", say("best"), NETWORK, line.x.tolist(), line.best.tolist()),
            Layer("point", say("picture"), PICTURE, places.tolist(), [0.0] * len(places)),
        ],
    )
    shown = [(x_t[0], say("x_t_picture")), (line.mean_picture, say("centre"))]
    for share, place, index in zip(shares.tolist(), places.tolist(), which.tolist(), strict=True):
        shown.append((training[index], say("likely", share=percent(share), place=f"{place:.2f}")))
    count = count_hills(line.exact)
    said = say(
        "line_said",
        t=t + 1,
        s=s + 1,
        split=f"{line.split:.3g}",
        effective=f"{line.effective:.3g}" if line.effective < 100 else f"{line.effective:,.0f}",
        hills=say("line_one") if count == 1 else say("line_hills", count=count),
    )
    return chart, figures(shown), said


def break_map(scene: Scene, values: dict, say: Say) -> Parts:
    """Show how many steps a chain needs at each t for the Gaussian to hold."""
    facts = scene.data_facts
    if facts is None:
        return blank(say("break_alt")), say("facts_missing")
    t = (facts.t + 1).tolist()
    layers = []
    for (name, most), color in zip(BROKEN.items(), (PLAIN, NOISE, NETWORK), strict=True):
        needed = steps_needed(facts, most).nan_to_num(nan=LEAST_STEPS, posinf=scene.T).clamp(min=LEAST_STEPS)
        kind, opacity = ("line", 1.0) if name == "below_10" else ("area", 0.6)
        layers.append(Layer(kind, say(name), color, t, needed.tolist(), opacity=opacity))
    rows = {S: breaks(facts, S).median.nan_to_num() for S in (scene.T, 50, 10, 4) if S <= scene.T}
    worst = rows[scene.T].argmax().item()
    chart = Chart(
        alt=say("break_alt"),
        x=Axis("t", domain=(0, scene.T)),
        y=Axis(say("steps_axis"), log=True, domain=(LEAST_STEPS, scene.T)),
        layers=layers,
        marks=[(t[worst], f"t = {t[worst]}")],
    )
    said = say(
        "break_said",
        t=t[worst],
        T=scene.T,
        at_1000=f"{rows[scene.T][worst]:.2g}",
        **{f"at_{S}": f"{rows[S][worst]:.2g}" if S in rows else "–" for S in (50, 10, 4)},
        draws=facts.top_variance.shape[1],
        n=f"{facts.pictures:,}",
    )
    return chart, said if scene.plan.on_trained_betas else f"{said} {say('facts_betas')}"


CHAPTER = Chapter(
    "07-why-gaussian",
    (
        Experiment(
            "one-step",
            ("plot", "plot", "text"),
            one_step,
            (
                Control("log_beta", -1.0, minimum=LEAST_LOG_BETA, maximum=MOST_LOG_BETA, step=0.05),
                Control("x_t", 0.0, minimum=-3, maximum=3, step=0.1),
            ),
            wide=True,
        ),
        Experiment(
            "whole-chain",
            ("plot", "text"),
            whole_chain,
            (Control("width", WIDTH, minimum=0.1, maximum=0.8, step=0.05),),
            wide=True,
        ),
        Experiment(
            "bumps",
            ("plot", "html", "text"),
            bumps,
            (
                Control("t", 450, minimum=2),
                Control("steps", "10", choices=("1000", "250", "50", "20", "10", "4")),
                Control("picture", 1, minimum=1, maximum=16),
            ),
            wide=True,
        ),
        Experiment("break-map", ("plot", "text"), break_map, wide=True),
    ),
)
