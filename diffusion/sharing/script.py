"""A run as a Python script on plain diffusers and torch, without this program: the text of "copy as Python".

It writes the sampler out, since no stock scheduler supports every step count, beta range and noise level. The
arithmetic is this program's, operation by operation, so the pictures are the same; each sampler has lines of its own.
"""

from collections.abc import Mapping

from diffusion.gaussian import PredictionType
from diffusion.plan import Plan
from diffusion.schedule import NoiseSchedule
from diffusion.start import PICTURES

TIMESTEPS = {
    "even": "[(2 * (T - 1) * (S - 1 - k) + S - 1) // (2 * (S - 1)) for k in range(S)]",
    "quadratic": ("[max(k, (2 * (T - 1) * k * k + (S - 1) ** 2) // (2 * (S - 1) ** 2)) for k in reversed(range(S))]"),
    "power": "[max(k, int((T - 1) * ((2 * k + 1) / (2 * S - 1)) ** 1.25 + 0.5)) for k in reversed(range(S))]",
    "leading": "[k * (T // S) for k in reversed(range(S))]",
    "linspace": "np.linspace(0, T - 1, S).round()[::-1].astype(int).tolist()",
    "trailing": "(np.round(np.arange(T, 0, -T / S)).astype(int) - 1)[:S].tolist()",
}
# Every comment and docstring of the scripts, the samplers' own lines included, for a page to say in its language
COMMENTS = {
    "run": "{checkpoint}: {sampler} in {steps} steps, seeds {first} to {last}.",
    "checkpoint": "the folder, or its name on the Hub",
    "schedule": "The noise schedule, in float64: with float32 the last steps lose digits",
    "amplitudes": "How much of x_t is picture, and how much noise.",
    "matching": "The network was trained on other betas: told[t] is the timestep at which it knew this noise level",
    "draw": "Noise; each picture's from its own generator, so that it does not depend on the others.",
    "skipped": "its noise is used up all the same",
    "predict": "What the network takes x at t to be made of: picture and noise.",
    "beyond": "noisier than anything it was trained on: read its answer where it knows best",
    "solver": "The run's own noise levels, in float64: set_timesteps would round",
    "heun": "sigma_s - sigma_t, times sqrt(alpha-bar_s)",
}


def python_script(plan: Plan, scheduler_config, checkpoint: str, comments: Mapping[str, str] = COMMENTS) -> str:
    """Return the script of a run. checkpoint: name of the folder below checkpoints/, which the reader has too.

    comments: COMMENTS in the reader's language.
    """
    settings, T = plan.settings, len(plan.trained)
    S, sampler, read = settings.num_inference_steps, plan.sampler, settings.read_by_sampler
    from_data = settings.start == "gaussian"
    uses_numpy = (settings.timestep_spacing in ("linspace", "trailing") and S > 1) or from_data
    is_matched = not plan.on_trained_betas and settings.conditioning == "matched"
    last_seed = settings.seed + settings.num_images
    said = {"checkpoint": checkpoint, "sampler": sampler.title, "first": settings.seed, "last": last_seed - 1}
    lines = [
        f'"""{comments["run"].format(steps=S, **said)}"""',
        "",
        *(["import math", ""] if from_data else []),
        *(["import numpy as np"] if uses_numpy else []),
        "import torch",
        f"from diffusers import {', '.join((*sampler.imports, 'UNet2DModel'))}",
        "from PIL import Image",
        "",
        f'CHECKPOINT = "checkpoints/{checkpoint}"  # the folder, or its name on the Hub',
        'unet = UNet2DModel.from_pretrained(CHECKPOINT, subfolder="unet", use_safetensors=True).eval()',
        "",
        "# The noise schedule, in float64: with float32 the last steps lose digits",
        f"T, S = {T}, {S}",
        f"betas = {_betas(plan.schedule, plan, scheduler_config)}",
        "log_alpha_bar = torch.log1p(-betas).cumsum(0)",
        f"timesteps = {TIMESTEPS[settings.timestep_spacing] if S > 1 else _single(plan)}",
        "",
        *(_matching(plan, scheduler_config) if is_matched else []),
        "",
        "def amplitudes(log_alpha_bar):",
        '    """How much of x_t is picture, and how much noise."""',
        "    return torch.exp(0.5 * log_alpha_bar).float(), torch.expm1(log_alpha_bar).abs().sqrt().float()",
        "",
        "",
        *_network(plan, "told[t].item()" if is_matched else "float(t)"),
        "",
        "",
        *_predict(scheduler_config["prediction_type"], is_matched, settings.clip_sample),
        "",
        "",
        *_draw(),
        "",
        "",
        f"generators = [torch.Generator().manual_seed(seed) for seed in range({settings.seed}, {last_seed})]",
        "x = draw()",
        *_start(plan),
        *sampler.script_setup(settings.start_step),
        "for k, (t, s) in enumerate(zip(timesteps, [*timesteps[1:], -1])):",
        *_skipped(settings.start_step, settings.effective_eta),
        "    x_0, eps = predict(x, t)",
        *sampler.script_step(**read),
        "",
        "levels = ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).squeeze(-1).numpy()",
        "for seed, image in enumerate(levels, " + str(settings.seed) + "):",
        f'    Image.fromarray(image).save(f"{checkpoint}-{{seed}}.png")',
        "",
    ]
    text = "\n".join(lines)
    for key, comment in COMMENTS.items():  # at the end, since the samplers write lines of their own
        text = text.replace(comment, comments[key])
    return text


def _start(plan: Plan) -> list[str]:
    """Return the lines that give x the mean and covariance of the data at the first timestep."""
    if plan.settings.start == "noise":
        return []
    labels = plan.conditioned_labels
    own = "pictures" if labels[0] is None else "pictures[classes == label]"
    return [
        "# This run starts before all is noise: with the mean and covariance that pictures of the data have there",
        f'data = np.load(f"{{CHECKPOINT}}/{PICTURES}")',
        'pictures = torch.from_numpy(data["images"]).permute(0, 3, 1, 2)',
        "pictures = pictures.reshape(len(pictures), -1).float() / 127.5 - 1",
        *([] if labels[0] is None else ['classes = torch.from_numpy(data["labels"].astype("int64"))']),
        f"signal, noise = amplitudes(log_alpha_bar[timesteps[{plan.settings.start_step}]])",
        f"for i, (label, generator) in enumerate(zip({list(labels)!r}, generators)):",
        f"    own = {own}",
        "    weights, mean = torch.randn(len(own), generator=generator), own.mean(0)",
        "    drawn = mean + (weights @ own - weights.sum() * mean) / math.sqrt(len(own))",
        "    x[i] = signal * drawn.reshape(x[i].shape) + noise * x[i]",
    ]


def _single(plan: Plan) -> str:
    return f"[{plan.pairs[0][0]}]"


def _betas(schedule: NoiseSchedule, plan: Plan, config) -> str:
    """Return the expression that makes these betas, from the settings or from the scheduler's config."""
    settings = plan.settings
    own = schedule is not plan.trained
    if not own and config.get("trained_betas") is not None:
        return f"torch.tensor({list(config['trained_betas'])}, dtype=torch.float64)"
    shape = (settings.beta_schedule if own else None) or config["beta_schedule"]
    start, end = config.get("beta_start"), config.get("beta_end")
    if own:
        start = start if settings.beta_start is None else settings.beta_start
        end = end if settings.beta_end is None else settings.beta_end
    if shape == "squaredcos_cap_v2":
        angle = "(torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * torch.pi / 2"
        return f"(1 - (c := torch.cos({angle}) ** 2)[1:] / c[:-1]).clamp(max=0.999)"
    if shape == "scaled_linear":
        return f"torch.linspace({start!r} ** 0.5, {end!r} ** 0.5, T, dtype=torch.float64) ** 2"
    if shape == "sigmoid":
        rise = "torch.sigmoid(torch.linspace(-6, 6, T, dtype=torch.float64))"
        return f"{rise} * ({end!r} - {start!r}) + {start!r}"
    return f"torch.linspace({start!r}, {end!r}, T, dtype=torch.float64)"


def _matching(plan: Plan, config) -> list[str]:
    return [
        "# The network was trained on other betas: told[t] is the timestep at which it knew this noise level",
        f"trained_betas = {_betas(plan.trained, plan, config)}",
        "trained_log_alpha_bar = torch.log1p(-trained_betas).cumsum(0)",
        "known, wanted = (",
        "    0.5 * (torch.log(-torch.expm1(log)) - log) for log in (trained_log_alpha_bar, log_alpha_bar)",
        ")",
        "right = torch.searchsorted(known, wanted).clamp(1, T - 1)",
        "told = right - 1 + ((wanted - known[right - 1]) / (known[right] - known[right - 1])).clamp(0, 1)",
        "",
    ]


def _network(plan: Plan, told: str) -> list[str]:
    head = [
        "@torch.no_grad()",
        "def network(x, t):",
    ]
    time = f"torch.full((len(x),), {told})"
    if plan.class_labels is None:
        return [*head, f"    return unet(x, {time}).sample"]
    none, guidance = plan.settings.guidance_scale == 0, plan.settings.guidance_scale
    labels = set(plan.class_labels)
    listed = repr(list(plan.class_labels)) if len(labels) > 1 else f"[{labels.pop()}] * {len(plan.class_labels)}"
    setup = [f"labels = torch.tensor({listed})", "no_class = torch.full_like(labels, unet.config.num_class_embeds - 1)"]
    call = f"unet(x, {time}, class_labels={'no_class' if none else 'labels'}).sample"
    if guidance in (0, 1):
        return [*setup[: 2 if none else 1], "", "", *head, f"    return {call}"]
    return [
        *setup,
        "",
        "",
        *head,
        f"    t = torch.full((2 * len(x),), {told})",
        "    both = unet(torch.cat([x, x]), t, class_labels=torch.cat([no_class, labels])).sample",
        "    without, with_class = both.chunk(2)",
        f"    return without + {guidance!r} * (with_class - without)",
    ]


def _draw() -> list[str]:
    return [
        "def draw():",
        '    """Noise; each picture\'s from its own generator, so that it does not depend on the others."""',
        "    size = unet.config.in_channels, unet.config.sample_size, unet.config.sample_size",
        "    return torch.stack([torch.randn(size, generator=generator) for generator in generators])",
    ]


def _skipped(start_step: int, eta: float) -> list[str]:
    if not start_step:
        return []
    noise = ["        if s >= 0:", "            draw()  # its noise is used up all the same"] if eta > 0 else []
    return [f"    if k < {start_step}:", *noise, "        continue"]


def _predict(prediction_type: PredictionType, is_matched: bool, clip: bool) -> list[str]:
    return [
        "def predict(x, t):",
        '    """What the network takes x at t to be made of: picture and noise."""',
        "    output = network(x, t)",
        *_prediction(prediction_type, is_matched),
        *_clip(clip),
        "    return x_0, eps",
    ]


def _prediction(prediction_type: PredictionType, is_matched: bool) -> list[str]:
    """Return the lines that turn the network's output into x_0 and eps."""

    def converted(indent: str) -> list[str]:
        if prediction_type == "epsilon":
            return [f"{indent}x_0, eps = (x - noise * output) / signal, output"]
        if prediction_type == "sample":
            return [f"{indent}x_0, eps = output, (x - signal * output) / noise"]
        return [f"{indent}x_0, eps = signal * x - noise * output, signal * output + noise * x"]

    level = "    signal, noise = amplitudes(log_alpha_bar[t])"
    if not is_matched:
        return [level, *converted("    ")]
    return [
        "    if wanted[t] > known[-1]:  # noisier than anything it was trained on: read its answer where it knows best",
        "        signal, noise = amplitudes(trained_log_alpha_bar[-1])",
        *converted("        "),
        "        signal, noise = amplitudes(log_alpha_bar[t])",
        "        eps = (x - signal * x_0) / noise",
        "    else:",
        "        signal, noise = amplitudes(log_alpha_bar[t])",
        *converted("        "),
    ]


def _clip(clip: bool) -> list[str]:
    if not clip:
        return []
    return ["    x_0 = x_0.clamp(-1, 1)", "    eps = (x - signal * x_0) / noise"]
