"""Chapter 6, every term: a ratio that may be negative, the ledger of a picture, and what is in a term."""

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from app.maths.chapter import Chapter, Control, Experiment, Parts, Say, Upload
from app.maths.figures import figures, power_of_ten, table
from app.maths.grids import evenly, evenly_on_log
from app.maths.scene import Scene
from app.texts import say_name
from app.ui.charts import EXACT, NETWORK, NOISE, PLAIN, Axis, Chart, Layer, blank
from app.ui.progress import WorkStep
from diffusion.bound import BoundVariance
from diffusion.bound_plan import BoundPlan
from diffusion.derivation.c04_bringing_in_x0 import Normal
from diffusion.derivation.c05_three_forms import prior_bpd
from diffusion.derivation.c06_every_term import Ledger, gaussian_errors, ledger, recorded_ledger
from diffusion.derivation.data_facts import DataFacts
from diffusion.derivation.data_limits import Layers, mmse_area, staircase, teeth, three_layers
from diffusion.derivation.terms import kl_pieces, log_ratio
from diffusion.gaussian import q_sample, step_coefficients
from diffusion.sampling import noise_like
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import visited_timesteps

SEED = 0
BINS, REACH_STD = 48, 4.5  # of the histogram
FEW_CALLS, DECODER_DRAWS = 64, 4
COLORS: dict[BoundVariance, str] = {"posterior": EXACT, "beta": NOISE, "analytic": NETWORK}
FEW_STEPS = 60  # of a chain whose terms are drawn one by one
TOOTH_POINTS, AREA_POINTS = 12, 600
NOISY = (20, 100, 250, 500)  # t at which the ledger's picture is shown
ROUNDING_NATS = 1e-12  # a KL of a whole picture below it is the rounding of float64
SEEN = 0.005  # of the highest point of a curve: below it there is nothing to be seen
HEADROOM = 1.5  # of a plot, over what is to be seen in it


def ratios(scene: Scene, values: dict, say: Say) -> Parts:
    """A histogram of log q/p at one step of one picture."""
    x_0, label = scene.test_picture(1)
    x_0, t, s = x_0.double(), values["t"] - 1, values["t"] - 2
    generator = torch.Generator().manual_seed(SEED)
    x_t = q_sample(x_0, torch.tensor(t), noise_like(x_0, [generator]), scene.schedule)
    x_0_hat = scene.denoiser(label).predict(x_t, t).x_0_hat
    found = log_ratio(x_0[0], x_0_hat[0], x_t[0], t, s, scene.schedule, generator, values["scale"], values["variance"])
    if not found.std_nats:
        bar = Layer("bar", say("above"), EXACT, [0.0], [1.0], width=0.1)
        return _histogram([bar], say), say("ratio_same")
    width = 2 * REACH_STD * found.std_nats / BINS
    bins, counts = torch.unique(torch.floor(found.values / width), return_counts=True)
    x, shares = (bins + 0.5) * width, counts / len(found.values)
    layers = [
        Layer("step", say(name), color, x[side].tolist(), shares[side].tolist(), width=width, opacity=0.7)
        for name, color, side in (("below", NETWORK, x < 0), ("above", EXACT, x > 0))
        if bool(side.any())
    ]
    said = {
        "kl": f"{found.kl_nats:.4g}",
        "mean": f"{found.mean_nats:.4g}",
        "se": f"{found.standard_error_nats:.1g}",
        "below": f"{100 * found.share_below_zero:.1f}",
    }
    marks = [(found.kl_nats, say("mean"))]
    if found.share_below_zero_exact is None:
        c = step_coefficients(t, s, scene.schedule)
        of_var = scene.dims * kl_pieces(0.0, c.posterior_var / c.beta).total_nats.item()
        return _histogram(layers, say, marks), say("ratio_unequal", **said, of_var=f"{of_var:.3g}")
    curve = torch.linspace(x.min().item(), x.max().item(), 200, dtype=torch.float64)
    normal = Normal(found.kl_nats, found.std_nats**2).density(curve) * width
    layers.append(Layer("line", say("normal"), PLAIN, curve.tolist(), normal.tolist()))
    exact = f"{100 * found.share_below_zero_exact:.1f}"
    return _histogram(layers, say, marks), say("ratio_equal", **said, exact=exact)


def _histogram(layers: list[Layer], say: Say, marks: list[tuple[float, str]] = ()) -> Chart:
    return Chart(say("ratio_alt"), Axis(say("ratio")), Axis(say("share")), layers, marks=marks)


def _plan(scene: Scene, values: dict) -> BoundPlan:
    if values["calls"] == "all":
        return _whole(scene.schedule, DECODER_DRAWS)
    timesteps = visited_timesteps(scene.T, scene.T)
    return BoundPlan.stratified(scene.schedule, timesteps, FEW_CALLS, decoder_draws=DECODER_DRAWS, seed=SEED)


def recorded(scene: Scene, values: dict, say: Say) -> Parts:
    """Before the network has run: what was recorded of the training pictures, where there is a record."""
    pictures, _ = scene.training_pictures
    prior = prior_bpd(pictures.square().mean().item(), scene.schedule)
    facts = scene.data_facts
    if facts is not None and facts.network_mse is not None and scene.plan.on_trained_betas:
        book = _recorded_book(facts, prior)
        said = say("ledger_recorded", draws=facts.network_mse.shape[1])
    else:
        var = pictures.var(dim=0, correction=0).mean().item()
        book = _gaussian_book(tuple(scene.schedule.betas.tolist()), var, prior)
        said = say("ledger_gaussian")
    return _this_picture(scene, values, say), *_bill(book, say), f"{_totals(book, say)}\n\n{said}"


@lru_cache(maxsize=4)
def _recorded_book(facts: DataFacts, prior: float) -> Ledger:
    plan = _whole(facts.schedule)
    return recorded_ledger(facts.network_mse_at(plan.chain), plan, prior)


@lru_cache(maxsize=16)
def _gaussian_book(betas: tuple[float, ...], var: float, prior: float) -> Ledger:
    plan = _whole(NoiseSchedule(torch.tensor(betas, dtype=torch.float64)))
    return recorded_ledger(gaussian_errors(var, list(plan.chain), plan.schedule), plan, prior)


def _whole(schedule: NoiseSchedule, decoder_draws: int = 1) -> BoundPlan:
    return BoundPlan.all_steps(schedule, visited_timesteps(len(schedule), len(schedule)), decoder_draws)


def measured(scene: Scene, values: dict, say: Say) -> Iterator[WorkStep[Parts]]:
    """The ledger of one picture, term by term."""
    x_0, label = _picture(scene, values)
    plan = _plan(scene, values)
    fitted = scene.recorded_mse(plan.chain)
    generators = [torch.Generator().manual_seed(SEED)]

    def parts(book: Ledger) -> Parts:
        done, of = len(book.bars), book.planned
        said = say("ledger_running", done=done, of=of)
        if book.is_complete:
            said = say("ledger_done", of=of, prior=power_of_ten(book.prior_bpd), simple=f"{book.simple:.3g}")
        if fitted is None:
            said += " " + say("ledger_no_fit")
        return None, *_bill(book, say), f"{_totals(book, say)}\n\n{said}"

    for book in ledger(scene.denoiser(label), x_0, plan, generators, fitted):
        yield WorkStep(len(book.bars), book.planned, lambda _, book=book: parts(book))


def calls(scene: Scene, values: dict) -> tuple[int, int]:
    """Network calls of the ledger, one picture each."""
    return len(_plan(scene, values).evaluations), 1


def _picture(scene: Scene, values: dict) -> tuple[Tensor, Tensor | None]:
    """(1, C, H, W) and its label (1,): a test picture, or the visitor's own, which is told no class."""
    if values["own"] is not None:
        return values["own"][None], None
    return scene.test_picture(values["picture"])


def _this_picture(scene: Scene, values: dict, say: Say) -> str:
    x_0, label = _picture(scene, values)
    caption = say("this_picture", number=values["picture"]) if values["own"] is None else say("own_picture")
    if label is not None and scene.pipeline.classes:
        name = say_name(say("language"), "classes", scene.checkpoint.class_names[label.item()])
        caption = say("this_class", number=values["picture"], label=name)
    t = [t for t in NOISY if t <= scene.T]
    eps = noise_like(x_0, [torch.Generator().manual_seed(SEED)])
    noisy = q_sample(x_0.expand(len(t), -1, -1, -1), torch.tensor(t, dtype=torch.int64) - 1, eps, scene.schedule)
    return figures([(x_0[0], caption), *zip(noisy, (f"t = {number}" for number in t), strict=True)])


def _bill(book: Ledger, say: Say) -> tuple[Chart, Chart]:
    """Every term, and their sum from t = 1 upwards."""
    terms, sums = [], []
    for kind in book.variances:
        t, term, running = book.running_bpd(kind)
        seen = torch.arange(len(t)) if len(t) <= 2 * FEW_CALLS else evenly_on_log(len(t))
        terms.append(Layer("line", say(kind), COLORS[kind], (t + 1)[seen].tolist(), term[seen].tolist()))
        sums.append(Layer("line", say(kind), COLORS[kind], (t + 1)[seen].tolist(), running[seen].tolist()))
    return (
        Chart(say("terms_alt"), Axis("t", log=True), Axis(say("bpd"), log=True), terms),
        Chart(say("so_far_alt"), Axis("t", log=True), Axis(say("so_far")), sums),
    )


def _totals(book: Ledger, say: Say) -> str:
    rows = []
    for kind in book.variances:
        has_decoder = any(bar.s == -1 for bar in book.bars)
        total = book.totals[kind] if book.is_complete else None
        rows.append(
            [
                say(kind),
                f"{book.steps_bpd(kind):.3f}",
                f"{book.decoder_bpd(kind):.3f}" if has_decoder else "…",
                f"≤ **{total.bpd:.3f}** ± {total.standard_error_bpd:.3f}" if total else "…",
            ]
        )
    heads = [say("ledger_variance"), r"$\sum_{t\ge2}L_{t-1}$", r"$L_0$", say("ledger_total")]
    return table(heads, rows)


def layers_of_a_term(scene: Scene, values: dict, say: Say) -> Parts:
    """Information, the price of a Gaussian and the network's error, over t."""
    facts = scene.data_facts
    if facts is None:
        return blank(say("layers_alt")), say("facts_missing")
    found = _layers(facts, min(values["steps"], scene.T), values["variance"])
    count = len(found.t)
    stack = [("information", EXACT, found.information_nats), ("price", PLAIN, found.gaussian_nats)]
    if found.network_nats is not None:
        stack.append(("network", NETWORK, found.network_nats))
    few = count <= FEW_STEPS
    keep = torch.arange(count) if few else evenly(count)
    layers, base = [], torch.zeros(count, dtype=torch.float64)
    for name, color, nats in stack:
        top = base + nats.clamp(min=0)
        layers.append(
            Layer(
                "bar" if few else "area",
                say(name),
                color,
                (found.t[keep] + 1).tolist(),
                top[keep].tolist(),
                base=base[keep].tolist(),
                width=0.7 * scene.T / count if few else None,
                opacity=0.75,
            )
        )
        base = top
    at = (found.t - (values["t"] - 1)).abs().argmin().item()
    here = found.t[at].item() + 1
    highest = (found.information_nats + found.gaussian_nats.clamp(min=0)).max().item()
    chart = Chart(
        alt=say("layers_alt"),
        x=Axis("t", domain=(0, scene.T)),
        y=Axis(say("layer_nats"), domain=(0, HEADROOM * highest)),
        layers=layers,
        marks=[(here, f"t = {here}")],
    )
    numbers = {name: _shown(nats[at].item()) for name, _, nats in stack}
    sums = {f"all_{name}": f"{nats.sum():.4g}" for name, _, nats in stack}
    said = say(
        "layers_said",
        t=here,
        s=found.s[at].item() + 1,
        se=_shown(found.gaussian_se_nats[at].item(), 1),
        all_se=f"{found.gaussian_total_se_nats:.1g}",
        steps=count,
        n=f"{facts.pictures:,}",
        log_n=f"{facts.log_pictures:.2f}",
        **{"network": "–", "all_network": "–"} | numbers | sums,
    )
    return chart, _with_note(said, scene, say)


def _shown(nats: float, digits: int = 3) -> str:
    """What is below the rounding of float64 is 0."""
    return f"{nats if abs(nats) > ROUNDING_NATS else 0.0:.{digits}g}"


@lru_cache(maxsize=64)
def _layers(facts: DataFacts, steps: int, variance: BoundVariance) -> Layers:
    return three_layers(facts, visited_timesteps(steps, len(facts.betas)), variance)


def bits_are_an_area(scene: Scene, values: dict, say: Say) -> Parts:
    """The mmse over the SNR, and the stairs of a chain of few steps above it."""
    facts = scene.data_facts
    if facts is None:
        return blank(say("area_alt")), say("facts_missing")
    area = mmse_area(facts)
    seen = area.log_snr[area.height > SEEN * area.height.max()].exp()
    stairs = staircase(facts, visited_timesteps(min(values["steps"], scene.T), scene.T))
    count = len(stairs.t)
    log_snr, height = teeth(stairs, facts.schedule, max(2, min(TOOTH_POINTS, AREA_POINTS // count)))
    chart = Chart(
        alt=say("area_alt"),
        x=Axis(say("snr"), log=True, domain=(seen.min().item() / 2, 4 * seen.max().item())),
        y=Axis(say("height"), domain=(0, HEADROOM * 2 * area.height.max().item())),
        layers=[
            Layer("area", say("stairs"), NOISE, log_snr.exp().tolist(), height.tolist(), opacity=0.45),
            Layer("area", say("curve"), EXACT, area.log_snr.exp().tolist(), area.height.tolist(), opacity=0.8),
        ],
    )
    said = say(
        "area_said",
        area=f"{area.area_nats:.3f}",
        se=f"{area.area_se_nats:.2g}",
        entropy=f"{area.entropy_side_nats:.3f}",
        log_n=f"{area.log_pictures:.3f}",
        steps=count + 1,
        total=f"{stairs.total_nats:.4g}",
    )
    return chart, _with_note(said, scene, say)


def _with_note(said: str, scene: Scene, say: Say) -> str:
    return said if scene.plan.on_trained_betas else f"{said} {say('facts_betas')}"


CHAPTER = Chapter(
    "06-every-term",
    (
        Experiment(
            "log-ratio",
            ("plot", "text"),
            ratios,
            (
                Control("t", 100, minimum=2),
                Control("scale", 1.0, minimum=0, maximum=3, step=0.1),
                Control("variance", "posterior", choices=("posterior", "beta")),
            ),
            wide=True,
        ),
        Experiment(
            "ledger",
            ("html", "plot", "plot", "text"),
            recorded,
            (
                Control("picture", 1, minimum=1, maximum=64),
                Control("calls", "few", choices=("few", "all"), live=False),
                Upload("own"),
            ),
            run=measured,
            calls=calls,
            wide=True,
        ),
        Experiment(
            "three-layers",
            ("plot", "text"),
            layers_of_a_term,
            (
                Control("t", 450, minimum=2),
                Control("steps", 1000, minimum=2),
                Control("variance", "posterior", choices=("posterior", "beta", "analytic")),
            ),
            wide=True,
        ),
        Experiment("area", ("plot", "text"), bits_are_an_area, (Control("steps", 20, minimum=2),), wide=True),
    ),
)
