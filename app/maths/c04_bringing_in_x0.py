"""Chapter 4, bringing in x_0: Bayes with two witnesses, and the form of the bound that is no KL."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from app.maths.chapter import Chapter, Control, Experiment, Parts, Say
from app.maths.figures import table
from app.maths.grids import evenly, evenly_on_log
from app.maths.scene import Scene
from app.texts.numbers import number, percent
from app.ui.charts import EXACT, NETWORK, NOISE, PICTURE, PLAIN, Axis, Chart, Layer
from app.ui.progress import WorkStep
from diffusion.bound import bits_per_dim
from diffusion.bound_plan import BoundPlan, Pair
from diffusion.derivation.c02_the_goal import gaussian_toy
from diffusion.derivation.c04_bringing_in_x0 import (
    Normal,
    Witnesses,
    first_form_nats,
    form_offset_nats,
    posterior_mean_from_eps,
    sign_criterion,
    witnesses,
)
from diffusion.derivation.c05_three_forms import BoundForm, first_from_second, gaussian_forms, prior_bpd
from diffusion.derivation.c06_every_term import Ledger, ledger, recorded_ledger
from diffusion.sampling import image_generators
from diffusion.trajectory import visited_timesteps

SEED = 0
REACH = 4  # half width of each curve, in its standard deviations
POINTS = 161  # of each density's own part of a curve
DOTS = 25  # drawn of the grid's points
SEEN = 1e-4  # of the highest density
BARS = 120  # per plot, at most
PICTURES = 4  # on which the error is measured
VARIANCE = "posterior"  # of the reverse steps: the one for which the sign of a term has a simple threshold


def two_witnesses(scene: Scene, values: dict, say: Say) -> Parts:
    """Show what x_t, x_0, and both together say about x_s on one pixel, by formula and by sums."""
    t = values["t"] - 1
    s = max(t - values["length"], -1)
    heard = witnesses(values["x_0"], values["x_t"], t, s, scene.schedule)
    mean_eps = posterior_mean_from_eps(torch.tensor([heard.x_t]), torch.tensor([heard.eps]), t, s, scene.schedule)
    said = say(
        "step_said", t=t + 1, s=s + 1, eps=f"{heard.eps:.6f}", mean_eps=f"{mean_eps.item():.6f}",
        of_x_t=percent(1 - heard.share_of_x_0), of_x_0=percent(heard.share_of_x_0),
    )  # fmt: skip
    note = say("to_x_0") if heard.grid is None else ""
    return _voices(heard, say), "\n\n".join([said, note, _verdict(heard, say)])


def _voices(heard: Witnesses, say: Say) -> Chart:
    named = (
        ("from_x_0", heard.from_x_0, PICTURE),
        ("from_x_t", heard.from_x_t, NOISE),
        ("posterior", heard.posterior, EXACT),
    )
    spread = [(name, normal, color) for name, normal, color in named if normal.var > 0]
    x = torch.cat([_around(normal) for _, normal, _ in spread]).unique()
    layers = [Layer("line", say(name), color, x.tolist(), normal.density(x).tolist()) for name, normal, color in spread]
    if heard.grid is not None:
        seen = torch.nonzero(heard.grid.density > SEEN * heard.grid.density.max()).flatten()
        dots = seen[evenly(len(seen), DOTS)]
        layers.append(
            Layer("point", say("grid"), PLAIN, heard.grid.x[dots].tolist(), heard.grid.density[dots].tolist())
        )
    marks = [(heard.x_0, "x₀")] if heard.grid is None else []
    return Chart(say("witnesses_alt"), Axis(say("pixel")), Axis(say("density")), layers, marks, height=220)


def _around(normal: Normal) -> Tensor:
    reach = REACH * math.sqrt(normal.var)
    return torch.linspace(normal.mean - reach, normal.mean + reach, POINTS, dtype=torch.float64)


def _verdict(heard: Witnesses, say: Say) -> str:
    named = [(name, getattr(heard, name)) for name in ("from_x_t", "from_x_0", "posterior")]
    rows = [(say(name), f"{one.mean:.8f}", f"{one.var:.8f}") for name, one in named]
    if heard.grid is not None:
        rows.append((say("grid"), f"{heard.grid.mean:.8f}", f"{heard.grid.var:.8f}"))
        off = heard.posterior.mean - heard.grid.mean, heard.posterior.var - heard.grid.var
        rows.append((say("difference"), number(off[0], 2), number(off[1], 2)))
    return table([say("who"), say("mean"), say("variance")], rows)


def not_a_kl(scene: Scene, values: dict, say: Say) -> Parts:
    """Show both forms of the bound for the Gaussian toy, all of whose terms are known."""
    std, plan = values["spread"], _plan(scene, values)
    toy = gaussian_toy(std, [t for t, _ in plan.chain], "posterior", scene.schedule)
    nats = gaussian_forms(toy, std, scene.schedule)
    first, second = (
        BoundForm(bits_per_dim(form.start, 1), bits_per_dim(form.steps, 1)) for form in (nats.first, nats.second)
    )
    return (
        _terms(plan.chain[:-1], first.steps[:-1], second.steps[:-1], say),
        _criterion(plan, plan.chain[:-1], toy.x_0_mse[:-1], scene, say),
        f"{_count(plan, first, second, say)}\n\n{_totals(first, second, say)}",
    )


def on_the_network(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the network's recorded errors, or the threshold alone, before the network has run."""
    plan = _plan(scene, values)
    fitted = scene.recorded_mse(plan.chain)
    if fitted is None:
        return _offsets(plan, scene, say), _criterion(plan, [], [], scene, say), say("network_wait")
    pictures, _ = scene.training_pictures
    book = recorded_ledger(fitted, plan, prior_bpd(pictures.square().mean().item(), scene.schedule))
    return *_measured(book, plan, scene, say), say("network_recorded")


def run_on_the_network(scene: Scene, values: dict, say: Say) -> Iterator[WorkStep[Parts]]:
    """Measure the network's error on held-out pictures, step by step."""
    pictures, labels = scene.test_pictures
    x_0, plan = pictures[:PICTURES], _plan(scene, values)
    denoiser = scene.denoiser(None if labels is None else labels[: len(x_0)])
    for book in ledger(denoiser, x_0, plan, image_generators(SEED, len(x_0))):
        yield WorkStep(len(book.bars), book.planned, lambda _, book=book: _page(book, len(x_0), plan, scene, say))


def calls_on_the_network(scene: Scene, values: dict) -> tuple[int, int]:
    """Return the network calls, and the pictures in each."""
    return len(_plan(scene, values).evaluations), PICTURES


def _page(book: Ledger, pictures: int, plan: BoundPlan, scene: Scene, say: Say) -> Parts:
    said = say("network_said", pictures=pictures, done=len(book.bars), of=book.planned)
    if book.is_complete:
        steps = torch.tensor([bar.bpd[VARIANCE] for bar in book.bars], dtype=torch.float64)
        second = BoundForm(book.prior_bpd, steps)
        first = first_from_second(second, list(plan.chain), scene.schedule)
        said = "\n\n".join([said, _count(plan, first, second, say), _totals(first, second, say)])
    return *_measured(book, plan, scene, say), said


def _plan(scene: Scene, values: dict) -> BoundPlan:
    return BoundPlan.all_steps(scene.schedule, visited_timesteps(min(values["steps"], scene.T), scene.T, "quadratic"))


def _measured(book: Ledger, plan: BoundPlan, scene: Scene, say: Say) -> tuple[Chart, Chart]:
    bars = [bar for bar in book.bars if bar.s >= 0]
    steps = [(bar.t, bar.s) for bar in bars]
    mse, second = (
        torch.tensor(numbers, dtype=torch.float64)
        for numbers in ([bar.x_0_mse for bar in bars], [bar.bpd[VARIANCE] for bar in bars])
    )
    t, s = torch.tensor(steps, dtype=torch.int64).reshape(-1, 2).unbind(1)
    first = bits_per_dim(first_form_nats(mse, t, s, scene.schedule), 1)
    return _terms(steps, first, second, say), _criterion(plan, steps, mse, scene, say)


def _terms(steps: Sequence[Pair], first: Tensor, second: Tensor, say: Say) -> Chart:
    return _bars(steps, [("second", EXACT, second), ("first", NOISE, first)], say)  # the lower one over the higher


def _offsets(plan: BoundPlan, scene: Scene, say: Say) -> Chart:
    steps = plan.chain[:-1]
    offsets = bits_per_dim(form_offset_nats(*torch.tensor(steps).unbind(1), scene.schedule), 1)
    return _bars(steps, [("offset", PLAIN, offsets)], say)


def _bars(steps: Sequence[Pair], named: Sequence[tuple[str, str, Tensor]], say: Say) -> Chart:
    keep = _kept(steps)
    t = [steps[k][0] + 1 for k in keep]
    return Chart(
        alt=say("forms_alt"),
        x=Axis("t", log=True),
        y=Axis(say("bits")),
        layers=[Layer("bar", say(name), color, t, values[keep].tolist()) for name, color, values in named],
        levels=[(0, "")],
    )


def _criterion(plan: BoundPlan, steps: Sequence[Pair], mse: Sequence[float], scene: Scene, say: Say) -> Chart:
    keep, whole = _kept(steps), _kept(plan.chain[:-1])
    t, s = torch.tensor(plan.chain)[whole].unbind(1)
    threshold = sign_criterion(t, s, scene.schedule)
    x = [steps[k][0] + 1 for k in keep]
    return Chart(
        alt=say("criterion_alt"),
        x=Axis("t", log=True),
        y=Axis(say("mse"), log=True),
        layers=[
            Layer("line", say("threshold"), PLAIN, (t + 1).tolist(), threshold.tolist(), dashed=True),
            Layer("line", say("error"), NETWORK, x, [float(mse[k]) for k in keep]),
            Layer("point", say("error"), NETWORK, x, [float(mse[k]) for k in keep]),
        ],
    )


def _kept(steps: Sequence[Pair]) -> list[int]:
    """Return the indices of the steps to draw: evenly on the logarithmic axis, counted from the clean end."""
    return [len(steps) - 1 - k for k in evenly_on_log(len(steps), BARS).tolist()] if steps else []


def _count(plan: BoundPlan, first: BoundForm, second: BoundForm, say: Say) -> str:
    negative, negative_kl = (int((form.steps[:-1] < 0).sum()) for form in (first, second))
    return say("forms_said", steps=len(plan.chain), negative=negative, of=len(plan.chain) - 1, negative_kl=negative_kl)


def _totals(first: BoundForm, second: BoundForm, say: Say) -> str:
    rows = []
    for name, form in (("first", first), ("second", second)):
        numbers = form.start, form.steps[:-1].sum().item(), form.steps[-1].item()
        rows.append([say(name), *[f"{number:.4f}" for number in numbers], f"**{form.total:.4f}**"])
    return table([say(key) for key in ("form", "start", "middle", "last", "total")], rows)


CHAPTER = Chapter(
    "04-bringing-in-x0",
    (
        Experiment(
            "two-witnesses",
            ("plot", "text"),
            two_witnesses,
            (
                Control("t", 500, minimum=1),
                Control("length", 1, minimum=1),
                Control("x_0", 0.5, minimum=-1, maximum=1, step=0.05),
                Control("x_t", -0.3, minimum=-3, maximum=3, step=0.05),
            ),
        ),
        Experiment(
            "not-a-kl",
            ("plot", "plot", "text"),
            not_a_kl,
            (
                Control("spread", 0.1, minimum=0.05, maximum=2, step=0.05),
                Control("steps", 50, minimum=2),
            ),
        ),
        Experiment(
            "on-the-network",
            ("plot", "plot", "text"),
            on_the_network,
            (Control("steps", 50, minimum=2, maximum=100),),
            run=run_on_the_network,
            calls=calls_on_the_network,
        ),
    ),
)
