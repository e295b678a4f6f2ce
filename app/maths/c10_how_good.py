"""Chapter 10, how good is the network: it beside the exact denoiser, and its samples beside real pictures."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from app.maths.chapter import Chapter, Control, Experiment, Parts, Say
from app.maths.figures import rows_of_figures, table
from app.maths.scene import Scene
from app.texts.numbers import percent
from app.ui.charts import EXACT, NETWORK, PLAIN, Axis, Chart, Layer
from app.ui.progress import WorkStep
from diffusion.derivation.c10_how_good import (
    CurvePoint,
    four_curves,
    neighbours,
    pick_evenly,
    some_timesteps,
    squared_error,
)
from diffusion.exact import DataDenoiser
from diffusion.gaussian import q_sample
from diffusion.sampling import image_generators, noise_like
from diffusion.settings import SamplingSettings

SEED = 0
CURVE_STEPS, CURVE_PICTURES = 16, 12
ERRORS = (1e-5, 100.0)  # that are shown; below them the exact denoiser is certain
SAMPLES, SAMPLING_STEPS, BINS = 16, 50, 24
HELD_OUT = 128  # pictures in a live histogram
TWINS = 8  # pairs that are shown


def two_answers(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the answers of the exact denoiser and the network to a noisy training and a noisy held-out picture."""
    number, t = values["picture"] - 1, values["t"] - 1
    known, unknown = scene.training_pictures[0], scene.test_pictures[0]
    x_0 = torch.stack([known[number % len(known)], unknown[number % len(unknown)]]).double()
    eps = noise_like(x_0, image_generators(SEED, len(x_0)))
    x_t = q_sample(x_0, torch.tensor(t), eps, scene.schedule)
    exact = DataDenoiser(known, scene.schedule).predict(x_t, t)
    network = scene.denoiser().predict(x_t, t)
    heads = [say(key) for key in ("x_0", "x_t", "exact_answer", "network_answer")]
    kinds = (say("known"), say("unknown"))
    columns = (x_0, x_t, exact.x_0_hat, network.x_0_hat)
    shown = rows_of_figures([(kind, [x[k] for x in columns]) for k, kind in enumerate(kinds)], heads)
    errors = zip(kinds, squared_error(eps, exact.eps_hat), squared_error(eps, network.eps_hat), strict=True)
    rows = [(kind, f"{of_exact:.2g}", f"{of_network:.2g}") for kind, of_exact, of_network in errors]
    return shown, table([say("error"), say("exact_answer"), say("network_answer")], rows)


def _curves(t: list[int], training: Mapping, held_out: Mapping, T: int, say: Say) -> Chart:
    layers = [Layer("line", say("says_nothing"), PLAIN, (1, T), (1, 1), dashed=True)]
    if t:
        steps = [index + 1 for index in t]
        layers += [
            Layer("line", say("exact_known"), EXACT, steps, list(training["exact"])),
            Layer("line", say("network_known"), NETWORK, steps, list(training["network"])),
            Layer("line", say("exact_unknown"), EXACT, steps, list(held_out["exact"]), dashed=True),
            Layer("line", say("network_unknown"), NETWORK, steps, list(held_out["network"]), dashed=True),
        ]
    return Chart(
        alt=say("curves_alt"),
        x=Axis("t", domain=(1, T)),
        y=Axis(say("error"), log=True, domain=ERRORS),
        layers=layers,
        height=260,
    )


def recorded_curves(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the recorded curves."""
    lessons = scene.lessons
    if lessons is None:
        return _curves([], {}, {}, scene.T, say), say("curves_missing")
    curves = [{name: row.tolist() for name, row in one.items()} for one in (lessons.training, lessons.held_out)]
    worst = lessons.pythagoras_z.abs().max()
    said = say("curves_said", pictures=f"{lessons.pictures:,}", count=len(lessons.t), worst=f"{worst:.1f}")
    return _curves(lessons.t.tolist(), *curves, scene.T, say), said


def measured_curves(scene: Scene, values: dict, say: Say) -> Iterator[WorkStep[Parts]]:
    """Measure the curves, one t after another."""
    known, unknown = scene.training_pictures[0], scene.test_pictures[0]
    exact, timesteps = DataDenoiser(known, scene.schedule), some_timesteps(scene.schedule, CURVE_STEPS)
    sets = pick_evenly(known, CURVE_PICTURES), pick_evenly(unknown, CURVE_PICTURES)
    generators = image_generators(values["seed"], CURVE_PICTURES)
    points: list[CurvePoint] = []
    for point in four_curves(scene.denoiser(), exact, *sets, timesteps, generators):
        points.append(point)
        yield WorkStep(len(points), len(timesteps), lambda _, so_far=tuple(points): _of_points(so_far, scene.T, say))


def _of_points(points: tuple[CurvePoint, ...], T: int, say: Say) -> Parts:
    training, held_out = (
        {name: [getattr(getattr(point, one), name).mean().item() for point in points] for name in ("network", "exact")}
        for one in ("training", "held_out")
    )
    worst = max(abs(point.training.pythagoras_z) for point in points)
    said = say("curves_measured", pictures=CURVE_PICTURES, count=len(points), worst=f"{worst:.1f}")
    return _curves([point.t for point in points], training, held_out, T, say), said


def _histogram(edges: Tensor, shares: Mapping[str, Tensor], say: Say) -> Chart:
    width, colors = (edges[1] - edges[0]).item(), {"samples": NETWORK, "held_out": EXACT}
    middles = (edges[:-1] + width / 2).tolist()
    return Chart(
        alt=say("histogram_alt"),
        x=Axis(say("distance")),
        y=Axis(say("share")),
        layers=[
            Layer("step", say(f"{name}_name"), colors[name], middles, share.tolist(), width=width, opacity=0.5)
            for name, share in shares.items()
        ],
    )


def _pairs(pictures: Tensor, label: str, index: Tensor, distances: Tensor, scene: Scene, say: Say) -> str:
    nearest = scene.training_pictures[0][index[:TWINS]]
    heads = [f"{distance:.2f}" for distance in distances[:TWINS].tolist()]
    return rows_of_figures([(label, list(pictures[:TWINS])), (say("nearest"), list(nearest))], heads)


def recorded_neighbours(scene: Scene, values: dict, say: Say) -> Parts:
    """Show the recorded histograms, and held-out pictures with their nearest training pictures."""
    some = pick_evenly(scene.test_pictures[0], TWINS if scene.lessons else HELD_OUT)
    found = neighbours(some[:TWINS], some, scene.training_pictures[0], BINS)
    twins = _pairs(some, say("held_out_row"), found.index, found.samples, scene, say)
    lessons = scene.lessons
    if lessons is None:
        return _histogram(found.edges, {"held_out": found.held_out_share}, say), twins, say("neighbours_missing")
    shares = {"held_out": lessons.held_out_share, "samples": lessons.samples_share}
    said = say("neighbours_said", samples=lessons.samples, copies=percent(lessons.copies))
    return _histogram(lessons.edges, shares, say), twins, said


def _sampling(scene: Scene, seed: int) -> SamplingSettings:
    """Return the settings of some samples, with the classes of the first held-out pictures."""
    labels = scene.test_pictures[1]
    known = scene.pipeline.classes and labels is not None
    return scene.plan.settings.replace(
        sampler="ddim",
        eta=0.0,
        reverse_variance="posterior",
        num_inference_steps=min(SAMPLING_STEPS, scene.T),
        timestep_spacing="even",  # as in the recorded samples
        start_step=0,
        guidance_scale=1.0,
        num_images=SAMPLES,
        seed=seed,
        class_label=tuple(labels[:SAMPLES].tolist()) if known else None,
    )


def measured_neighbours(scene: Scene, values: dict, say: Say) -> Iterator[WorkStep[Parts]]:
    """Draw samples of the network, shown as they emerge from the noise, and find their nearest training pictures."""
    settings = _sampling(scene, values["seed"])
    pool, held_out = scene.training_pictures[0], pick_evenly(scene.test_pictures[0], HELD_OUT)

    def on_the_way(x: Tensor) -> Parts:
        return None, rows_of_figures([(say("samples_row"), list(x[:TWINS]))], [""] * TWINS), None

    def at_the_end(x: Tensor) -> Parts:
        found = neighbours(x.clamp(-1, 1), held_out, pool, BINS)
        shares = {"held_out": found.held_out_share, "samples": found.samples_share}
        twins = _pairs(x, say("samples_row"), found.index, found.samples, scene, say)
        said = say("neighbours_measured", samples=len(x), held_out=len(held_out), copies=percent(found.copies))
        return _histogram(found.edges, shares, say), twins, said

    steps = len(scene.pipeline.plan(settings).run_pairs)
    for done, step in enumerate(scene.pipeline.steps(settings), 1):
        make = at_the_end if done == steps else on_the_way
        yield WorkStep(done, steps, lambda _, x=step.x_s, make=make: make(x))


SEED_CONTROL = Control("seed", 0, maximum=99, live=False)
CHAPTER = Chapter(
    "10-how-good",
    (
        Experiment(
            "two-answers",
            ("html", "text"),
            two_answers,
            (Control("t", 200, minimum=1), Control("picture", 1, minimum=1, maximum=16)),
            wide=True,
        ),
        Experiment(
            "four-curves",
            ("plot", "text"),
            recorded_curves,
            (SEED_CONTROL,),
            run=measured_curves,
            calls=lambda scene, values: (2 * len(some_timesteps(scene.schedule, CURVE_STEPS)), CURVE_PICTURES),
            wide=True,
        ),
        Experiment(
            "neighbours",
            ("plot", "html", "text"),
            recorded_neighbours,
            (SEED_CONTROL,),
            run=measured_neighbours,
            calls=lambda scene, values: (min(SAMPLING_STEPS, scene.T), SAMPLES),
            wide=True,
        ),
    ),
)
