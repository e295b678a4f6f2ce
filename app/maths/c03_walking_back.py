"""Chapter 3, walking back: old and fresh noise in a step, the marginals it keeps, and one x_T under three eta."""

import math
from collections.abc import Iterator, Sequence

import torch

from app.maths.chapter import Chapter, Control, Experiment, Parts, Say
from app.maths.figures import rows_of_figures, table
from app.maths.grids import evenly
from app.maths.scene import Scene
from app.texts.numbers import number, percent
from app.ui.charts import NETWORK, NOISE, PLAIN, Axis, Chart, Layer
from app.ui.progress import WorkStep
from diffusion.derivation.c03_walking_back import (
    EtaParts,
    EtaSnapshot,
    eta_marginals,
    eta_parts,
    eta_runs,
    exact_eta_runs,
    oracle_moments,
)
from diffusion.settings import SamplingSettings
from diffusion.trajectory import pairs, visited_timesteps

SEED = 0
CIRCLE = 230  # pixels of the circle's plot
REPLICAS = 4  # walks with the oracle
PASS = 4.5  # |z| that scores stay below by chance
ETAS = (1.0, 0.5, 0.0)
LOOKS = 5
SMALL = 96  # pixels of a picture among many
PREVIEW_STEPS, PREVIEW_PICTURES = 20, 250  # of the walks that need no network


def _chain(scene: Scene, steps: int) -> list[tuple[int, int]]:
    return pairs(visited_timesteps(min(steps, scene.T), scene.T))


def quarter_circle(scene: Scene, values: dict, say: Say) -> Parts:
    """Show a step as a point on the circle of old and fresh noise, and its angle along the chain."""
    chain, eta = _chain(scene, values["steps"]), values["eta"]
    t, s = min(chain[:-1], key=lambda pair: abs(pair[0] - (values["t"] - 1)))
    step = eta_parts(t, s, eta, scene.schedule)
    said = say(
        "circle_said", t=t + 1, s=s + 1, radius=f"{step.radius:.4f}", angle=f"{step.angle_degrees:.1f}",
        share=percent((step.fresh / step.radius).item() ** 2), weight=_weight(step, say),
    )  # fmt: skip
    return _circle(t, s, step, scene, say), _angles(chain, eta, t, scene, say), said


def _weight(step: EtaParts, say: Say) -> str:
    weight = step.weight_nats.item()
    return say("weight_said", weight=f"{weight:.3g}") if math.isfinite(weight) else say("weight_none")


def _circle(t: int, s: int, step: EtaParts, scene: Scene, say: Say) -> Chart:
    reach = eta_parts(t, s, torch.linspace(0, 1, 33, dtype=torch.float64), scene.schedule)
    radius, x, y = step.radius.item(), step.reused.item(), step.fresh.item()
    angles = torch.linspace(0, math.pi / 2, 65, dtype=torch.float64)
    whole = (radius * angles.cos()).tolist(), (radius * angles.sin()).tolist()
    domain = (0, 1.06 * radius)
    return Chart(
        alt=say("circle_alt"),
        x=Axis(say("reused_axis"), domain=domain),
        y=Axis(say("fresh_axis"), domain=domain),
        layers=[
            Layer("line", say("circle"), PLAIN, *whole, dashed=True, opacity=0.6),
            Layer("line", say("circle"), PLAIN, reach.reused.tolist(), reach.fresh.tolist()),
            Layer("line", say("reused"), NETWORK, [0.0, x], [0.0, 0.0]),
            Layer("line", say("fresh"), NOISE, [x, x], [0.0, y]),
            Layer("point", say("fresh"), NOISE, [x], [y]),
        ],
        height=CIRCLE,
        width=CIRCLE,
    )


def _angles(chain: Sequence[tuple[int, int]], eta: float, here: int, scene: Scene, say: Say) -> Chart:
    layers = []
    for one, name, color in (
        (_chain(scene, scene.T), say("all_steps", steps=scene.T), PLAIN),
        (chain, say("of_steps", steps=len(chain)), NETWORK),
    ):
        t, s = torch.tensor(one[:-1]).unbind(1)
        keep = evenly(len(t))
        angle = eta_parts(t[keep], s[keep], eta, scene.schedule).angle_degrees
        x = (t[keep] + 1).tolist()
        layers.append(Layer("line", name, color, x, angle.tolist(), dashed=color == PLAIN))
        if len(t) == 1:
            layers.append(Layer("point", name, color, x, angle.tolist()))
    return Chart(
        alt=say("angle_alt"),
        x=Axis("t", domain=(1, scene.T)),
        y=Axis(say("angle"), domain=(0, 90), values=(0, 30, 60, 90)),
        layers=layers,
        marks=[(here + 1, f"t = {here + 1}")],
        height=CIRCLE,
    )


def same_marginals(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the family's marginals by recursion and by sampling with an oracle, and those of the other variance."""
    chain, eta = _chain(scene, values["steps"]), values["eta"]
    ours = eta_marginals(chain, eta, scene.schedule)
    wide = eta_marginals(chain, 1.0, scene.schedule, "beta")
    noisy = slice(0, len(chain) - 1)  # the last state is the picture
    t = [s + 1 for _, s in chain[noisy]]
    family, beta = ((one.var / one.true_var)[noisy] for one in (ours, wide))
    picture = scene.test_pictures[0][0]
    scores = oracle_moments(picture, chain, eta, REPLICAS, SEED, scene.schedule)
    ratios = Chart(
        alt=say("ratio_alt"),
        x=Axis(say("time"), domain=(1, scene.T)),
        y=Axis(say("ratio"), log=True),
        layers=[
            Layer("line", say("beta"), NOISE, t, beta.tolist()),
            Layer("point", say("beta"), NOISE, t, beta.tolist()),
            Layer("line", say("family"), NETWORK, t, family.tolist()),
            Layer("point", say("family"), NETWORK, t, family.tolist()),
        ],
    )
    t = (scores.t + 1).tolist()
    most = 1.1 * max(PASS, scores.worst)
    dice = Chart(
        alt=say("scores_alt"),
        x=Axis(say("time"), domain=(1, scene.T)),
        y=Axis(say("score"), domain=(-most, most)),
        layers=[
            Layer("point", say("mean"), NETWORK, t, scores.mean.tolist()),
            Layer("point", say("variance"), NOISE, t, scores.var.tolist()),
        ],
        levels=[(PASS, f"{PASS:g}"), (-PASS, f"−{PASS:g}")],
    )
    said = say(
        "marginals_said", most=number(ours.max_difference, 2), wide=f"{beta.max():.3g}",
        count=2 * len(t), worst=f"{scores.worst:.2f}",
    )  # fmt: skip
    return ratios, dice, said


def one_noise(scene: Scene, values: dict, say: Say) -> Parts:
    """Show one x_T under three eta with the exact denoiser of some training pictures, which needs no network."""
    pictures = scene.training_pictures[0][:PREVIEW_PICTURES].double()
    chain, seed = _chain(scene, min(values["steps"], PREVIEW_STEPS)), scene.plan.settings.seed
    found = list(exact_eta_runs(pictures, chain, seed, scene.schedule, ETAS, LOOKS))
    said = say("exact_said", pictures=len(pictures), steps=len(chain), seed=seed)
    return _walks(found, values["look"], said, say)


def run_one_noise(scene: Scene, values: dict, say: Say) -> Iterator[WorkStep[Parts]]:
    """Show the same on the network, the three walks side by side."""
    settings = _settings(scene, values)
    steps = settings.num_inference_steps
    said = say("network_said", steps=steps, seed=settings.seed)
    looks = set(evenly(steps, LOOKS).tolist())
    found: list[EtaSnapshot] = []
    for done, snapshot in enumerate(eta_runs(scene.pipeline, settings, ETAS, steps), 1):
        if snapshot.number in looks:
            found.append(snapshot)
        yield WorkStep(done, len(ETAS) * steps, lambda _: _walks(found, values["look"], said, say))


def calls_of_one_noise(scene: Scene, values: dict) -> tuple[int, int]:
    """Return the network calls, and the pictures in each: two if guidance evaluates each picture twice."""
    plan = scene.pipeline.plan(_settings(scene, values))
    return len(ETAS) * len(plan.run_pairs), plan.evaluations // plan.calls


def _settings(scene: Scene, values: dict) -> SamplingSettings:
    """Return the settings of the first picture of Generate's run, along the chosen number of steps of `_chain`."""
    steps = min(values["steps"], scene.T)
    return scene.plan.settings.part(0, 1).replace(start_step=0, num_inference_steps=steps, timestep_spacing="even")


def _walks(found: Sequence[EtaSnapshot], look: int, said: str, say: Say) -> Parts:
    walks = {eta: [one for one in found if one.eta == eta] for eta in ETAS}
    first = walks[ETAS[0]]
    heads = [say("at", t=one.step.t + 1) for one in first] + [""] * (LOOKS - len(first))
    rows = []
    for eta, walk in walks.items():
        rows.append((say("state", eta=f"{eta:g}"), [one.step.x_t[0] for one in walk]))
        rows.append((say("guess", eta=f"{eta:g}"), [one.step.x_0_hat[0] for one in walk]))
    number = first[min(look, len(first)) - 1].number
    apart = {eta: one for eta, walk in walks.items() for one in walk if one.number == number}
    names = [say(name) for name in ("signal", "kept", "drawn")]
    pictures = [
        (
            say("row", eta=f"{eta:g}"),
            [x[0] for x in (one.parts.signal, one.parts.reused, one.parts.fresh, one.step.x_s)],
        )
        for eta, one in apart.items()
    ]
    sizes = [("η", *[say("norm", part=name) for name in names])]
    sizes += [(f"{eta:g}", *[f"{size:.3f}" for size in one.parts.norms[:, 0].tolist()]) for eta, one in apart.items()]
    step = next(iter(apart.values())).step
    text = f"{said}\n\n{say('apart', t=step.t + 1, s=step.s + 1)}\n\n{table(sizes[0], sizes[1:])}"
    return rows_of_figures(rows, heads, SMALL), rows_of_figures(pictures, [*names, say("sum")], SMALL), text


ETA = Control("eta", 0.5, maximum=1, step=0.05)
CHAPTER = Chapter(
    "03-walking-back",
    (
        Experiment(
            "quarter-circle",
            ("plot", "plot", "text"),
            quarter_circle,
            (ETA, Control("t", 500, minimum=2), Control("steps", 50, minimum=2)),
        ),
        Experiment(
            "same-marginals",
            ("plot", "plot", "text"),
            same_marginals,
            (ETA, Control("steps", 50, minimum=2, maximum=100)),
        ),
        Experiment(
            "one-noise",
            ("html", "html", "text"),
            one_noise,
            (
                Control("steps", 50, minimum=2, maximum=100),
                Control("look", 3, minimum=1, maximum=LOOKS),
            ),
            run=run_one_noise,
            calls=calls_of_one_noise,
        ),
    ),
)
