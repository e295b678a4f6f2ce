"""Chapter 9, the two algorithms: their lines in this program, and one step of each."""

from collections.abc import Iterator

import torch
from torch import Tensor

from app.maths.chapter import Chapter, Control, Experiment, Parts, Say
from app.maths.figures import figures, table
from app.maths.scene import Scene
from app.ui.charts import NETWORK, PLAIN, Axis, Chart, Layer
from app.ui.progress import WorkStep
from diffusion.derivation.c09_two_algorithms import NoisyBatch, TrainingStep, draw_batch, sampling_step, training_trials
from diffusion.derivation.listings import listing
from diffusion.gaussian import q_sample
from diffusion.sampling import image_generators

SEED = 0
PICTURES = 8
# For each algorithm, the listings that implement the lines of its box; line N is the word "ALGORITHM_N"
LINES = {
    "training": ("algorithm-1-draws", "q-sample", "algorithm-1", "algorithm-1-step"),
    "sampling": ("algorithm-2", "algorithm-2-step", "algorithm-2-mean", "step-coefficients"),
}
EXPONENTS = [-4 + 0.5 * k for k in range(11)]  # of the curve's learning rates, powers of ten
RATIOS = (-1.0, 1.2)  # that are shown; far below 0, all that matters is that the loss rose


def the_lines(scene: Scene, values: dict, say: Say) -> Parts:
    """Show each line of an algorithm's box with the code that implements it."""
    algorithm, parts = values["algorithm"], []
    for number, key in enumerate(LINES[algorithm], 1):
        found = listing(key)
        source = say("source", file=found.file, line=found.first_line)
        parts.append(say("line_from", line=say(f"{algorithm}_{number}"), source=source))
        parts.append(f"```python\n{found.code}\n```")
    return ("\n\n".join(parts),)


def _batch(scene: Scene, number: int) -> tuple[NoisyBatch, Tensor | None]:
    """Return a draw of Algorithm 1, and the labels of its pictures."""
    generator = torch.Generator().manual_seed(number)
    pictures, labels = scene.training_pictures
    drawn = torch.randint(len(pictures), (PICTURES,), generator=generator)
    batch = draw_batch(pictures[drawn], scene.schedule, generator)
    return batch, labels[drawn] if scene.pipeline.classes and labels is not None else None


def _ratios(points: list[tuple[float, float]], rate: float, say: Say) -> Chart:
    ends = (10.0 ** EXPONENTS[0], 10.0 ** EXPONENTS[-1])
    layers = [Layer("line", say("promised_line"), PLAIN, ends, (1.0, 1.0), dashed=True)]
    if points:
        layers += [Layer(kind, say("ratio"), NETWORK, *zip(*points, strict=True)) for kind in ("line", "point")]
    return Chart(
        alt=say("ratio_alt"),
        x=Axis(say("rate"), log=True, domain=ends),
        y=Axis(say("ratio"), domain=RATIOS),
        layers=layers,
        marks=[(rate, say("chosen", rate=f"{rate:.3g}"))],
    )


def training_batch(scene: Scene, values: dict, say: Say) -> Parts:
    """Show what Algorithm 1 draws, before its step."""
    batch, _ = _batch(scene, values["batch"])
    x_t = q_sample(batch.x_0, batch.t, batch.eps, scene.schedule)
    shown = figures([(x, say("drawn", t=t + 1)) for x, t in zip(x_t, batch.t.tolist(), strict=True)])
    said = say("drawn_said", weights=f"{scene.pipeline.unet.num_parameters():,}")
    return shown, _ratios([], 10.0 ** values["log_rate"], say), said


def one_training_step(scene: Scene, values: dict, say: Say) -> Iterator[WorkStep[Parts]]:
    """Take Algorithm 1's step with one learning rate after another, the chosen one first."""
    batch, labels = _batch(scene, values["batch"])
    rates = _rates(values["log_rate"])
    prediction_type = scene.pipeline.scheduler.config.prediction_type
    steps = training_trials(scene.pipeline.with_weights().unet, batch, scene.schedule, rates, prediction_type, labels)
    for done, step in enumerate(steps, 1):
        yield WorkStep(done, len(rates) + 1, lambda _, step=step: (None, *_after(step, rates[0], say)))


def _rates(log_rate: float) -> list[float]:
    return list(dict.fromkeys([10.0**log_rate, *(10.0**exponent for exponent in EXPONENTS)]))


def _after(step: TrainingStep, rate: float, say: Say) -> Parts:
    points = sorted((trial.learning_rate, trial.ratio) for trial in step.trials)
    rows = [
        (say("loss_before"), f"{step.loss_before:.8f}"),
        (r"$\lVert g\rVert$", f"{step.grad_norm:.5g}"),
    ]
    if step.trials:
        trial = step.trials[0]
        rows += [
            (say("loss_after", rate=f"{rate:.3g}"), f"{trial.loss_after:.8f}"),
            (say("promised"), f"{rate * step.grad_norm**2:.5g}"),
            (say("real_fall"), f"{step.loss_before - trial.loss_after:.5g}"),
            (say("ratio_row"), f"**{trial.ratio:.4f}**"),
        ]
    return _ratios(points, rate, say), table([say("quantity"), say("value")], rows)


def one_sampling_step(scene: Scene, values: dict, say: Say) -> Parts:
    """Show Algorithm 2's step from a noisy test picture: whole pictures, and the numbers of the middle pixel."""
    pictures, labels = scene.test_pictures
    x_0, t = pictures[:1].double(), values["t"] - 1
    eps = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(SEED), dtype=x_0.dtype)
    x_t = q_sample(x_0, torch.tensor(t), eps, scene.schedule)
    denoiser = scene.denoiser(None if labels is None else labels[:1])
    clip = values["clip"] == "on"
    found = sampling_step(denoiser, x_t, t, image_generators(SEED + 1, 1), clip, values["variance"])
    step = found.step
    shown = figures([(step.x_t[0], say("x_t")), (step.x_0_hat[0], say("x_0_hat")), (step.x_s[0], say("x_s"))])
    pixel = found.at(0, x_0.shape[2] // 2, x_0.shape[3] // 2)
    rows = [
        (say("x_t_row"), f"{pixel.x_t:.6f}"),
        (say("eps_row"), f"{pixel.eps_hat:.6f}"),
        (say("x_0_row"), f"{pixel.x_0_hat:.6f}"),
        *([(say("clamped_row"), f"{pixel.x_0_hat_used:.6f}")] if clip else []),
        (say("schedule_row"), f"{pixel.alpha:.6f}, {pixel.beta:.6f}, {pixel.alpha_bar:.6g}"),
        (say("coefficients_row"), f"{pixel.c_0:.6g}, {pixel.c_t:.6g}"),
        (say("noise_row"), f"{pixel.sigma:.6g}, {pixel.z:.6f}"),
        (say("by_noises"), f"{pixel.by_noises:.10f}"),
        (say("by_pictures"), f"{pixel.by_pictures:.10f}"),
        (say("sampler"), f"**{pixel.x_s:.10f}**"),
    ]
    return shown, table([say("quantity"), say("value")], rows)


CLIP = Control("clip", "off", choices=("off", "on"))
VARIANCE = Control("variance", "posterior", choices=("posterior", "beta"))
CHAPTER = Chapter(
    "09-two-algorithms",
    (
        Experiment(
            "the-lines", ("text",), the_lines, (Control("algorithm", "training", choices=tuple(LINES)),), wide=True
        ),
        Experiment(
            "one-training-step",
            ("html", "plot", "text"),
            training_batch,
            (Control("batch", 1, minimum=1, maximum=16), Control("log_rate", -2.0, minimum=-4, maximum=1, step=0.1)),
            run=one_training_step,
            calls=lambda scene, values: (len(_rates(values["log_rate"])) + 3, PICTURES),
            wide=True,
        ),
        Experiment(
            "one-sampling-step",
            ("html", "text"),
            one_sampling_step,
            (Control("t", 500, minimum=1), CLIP, VARIANCE),
            wide=True,
        ),
    ),
)
