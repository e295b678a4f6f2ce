"""Chapter 6, every term: a log ratio that can be negative, the ledger of a picture, and the parts of a term."""

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from app.maths.c06_data_alone import bits_are_an_area, layers_of_a_term
from app.maths.chapter import Chapter, Control, Experiment, Parts, Say, Upload
from app.maths.figures import figures, power_of_ten, table
from app.maths.grids import evenly_on_log
from app.maths.scene import Scene
from app.texts import say_name
from app.texts.numbers import percent
from app.ui.charts import EXACT, NETWORK, NOISE, PLAIN, Axis, Chart, Layer
from app.ui.progress import WorkStep
from diffusion.bound import BoundVariance
from diffusion.bound_plan import BoundPlan
from diffusion.derivation.c04_bringing_in_x0 import Normal
from diffusion.derivation.c05_three_forms import prior_bpd
from diffusion.derivation.c06_every_term import Ledger, gaussian_errors, ledger, recorded_ledger
from diffusion.derivation.data_facts import DataFacts
from diffusion.derivation.terms import kl_pieces, log_ratio
from diffusion.gaussian import q_sample, step_coefficients
from diffusion.sampling import noise_like
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import visited_timesteps

SEED = 0
BINS, REACH_STD = 48, 4.5  # of the histogram
FEW_CALLS, DECODER_DRAWS = 64, 4
COLORS: dict[BoundVariance, str] = {"posterior": EXACT, "beta": NOISE, "analytic": NETWORK}
NOISY = (20, 100, 250, 500)  # the paper's t at which the ledger's picture is shown


def ratios(scene: Scene, values: dict, say: Say) -> Parts:
    """Show a histogram of log q/p at one step of one picture."""
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
        "below": percent(found.share_below_zero),
    }
    marks = [(found.kl_nats, say("mean"))]
    if found.share_below_zero_exact is None:
        c = step_coefficients(t, s, scene.schedule)
        of_var = scene.dims * kl_pieces(0.0, c.posterior_var / c.beta).total_nats.item()
        return _histogram(layers, say, marks), say("ratio_unequal", **said, of_var=f"{of_var:.3g}")
    curve = torch.linspace(x.min().item(), x.max().item(), 200, dtype=torch.float64)
    normal = Normal(found.kl_nats, found.std_nats**2).density(curve) * width
    layers.append(Layer("line", say("normal"), PLAIN, curve.tolist(), normal.tolist()))
    exact = percent(found.share_below_zero_exact)
    return _histogram(layers, say, marks), say("ratio_equal", **said, exact=exact)


def _histogram(layers: list[Layer], say: Say, marks: list[tuple[float, str]] = ()) -> Chart:
    return Chart(say("ratio_alt"), Axis(say("ratio")), Axis(say("share")), layers, marks=marks)


def _plan(scene: Scene, values: dict) -> BoundPlan:
    if values["calls"] == "all":
        return _whole(scene.schedule, DECODER_DRAWS)
    timesteps = visited_timesteps(scene.T, scene.T)
    return BoundPlan.stratified(scene.schedule, timesteps, FEW_CALLS, decoder_draws=DECODER_DRAWS, seed=SEED)


def recorded(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the ledger recorded on the training pictures, or that of Gaussian pixels without a record."""
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
    """Measure the ledger of one picture, term by term."""
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
    """Return the network calls of the ledger, and 1: the pictures in each."""
    return len(_plan(scene, values).evaluations), 1


def _picture(scene: Scene, values: dict) -> tuple[Tensor, Tensor | None]:
    """Return a test picture (1, C, H, W) and its label (1,), or the visitor's own picture and None."""
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
    """Plot every term, and their running sum from t = 1 upwards."""
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
