"""What each control of a run shows: its words, its choices and limits, and whether it means anything just now."""

from collections.abc import Mapping

from app.catalogue import Catalogue, Checkpoint
from app.form import COSINE, MIXED, NO_CLASS, TRAINED_ONE_BY_ONE, trained_betas
from app.options import Options
from app.texts import say, say_name, texts
from diffusion.samplers.registry import SAMPLERS, reads
from diffusion.settings import SEEDS

SCHEDULES = ("linear", "scaled_linear", COSINE, "sigmoid")
# Sliders of beta: (least, most, step). The number beside a slider takes any value in between.
BETA_START, BETA_END = (0.000_01, 0.01, 0.000_01), (0.000_5, 0.2, 0.000_5)
CHOICES = {
    "timestep_spacing": ("trailing", "even", "quadratic", "power", "leading", "linspace"),
    "reverse_variance": ("posterior", "beta"),
    "conditioning": ("matched", "naive"),
}
MANY_STEPS = 1000  # of a checkpoint that is not known


def checkpoint_choices(language: str, catalogue: Catalogue) -> list[tuple[str, str]]:
    """(display name, name) of every checkpoint folder; one that cannot be used says so."""
    choices = []
    for name in catalogue.names():
        shown = say_name(language, "checkpoints", name)
        if catalogue.error_of(name) is not None:
            shown = say(language, "controls.checkpoint.broken", name=shown)
        choices.append((shown, name))
    return choices


def control_props(language: str, checkpoint: Checkpoint | None, options: Options) -> dict[str, dict]:
    """Words, choices and limits of every control but the checkpoint's, for a checkpoint."""
    props = {name: {"choices": _choices(language, name, values)} for name, values in CHOICES.items()}
    most = checkpoint.num_train_timesteps if checkpoint else MANY_STEPS
    trained = _trained_words(language, checkpoint)
    props |= {
        "sampler": {"choices": [(sampler_title(name, language), name) for name in SAMPLERS]},
        "class_choice": {"choices": _classes(language, checkpoint)},
        "num_inference_steps": {"minimum": 1, "maximum": most, "step": 1},
        "seed": {"minimum": 0, "maximum": SEEDS - options.max_images, "precision": 0},
        "num_images": {"minimum": 1, "maximum": options.max_images, "step": 1},
        "guidance_scale": {"minimum": 0, "maximum": 8, "step": 0.1},
        "eta": {"minimum": 0, "maximum": 1, "step": 0.01},
        "clip_sample": {},
        "beta_schedule": {"choices": _schedules(language, checkpoint)},
        "beta_start": _beta_limits(BETA_START, checkpoint and checkpoint.beta_start),
        "beta_end": _beta_limits(BETA_END, checkpoint and checkpoint.beta_end),
    }
    places = {"num_inference_steps": {"most": most}} | {
        name: {"trained": trained[name]} for name in ("beta_schedule", "beta_start", "beta_end")
    }
    for name, prop in props.items():
        prop["label"] = say(language, f"controls.{name}.label")
        prop["info"] = say(language, f"controls.{name}.info", **places.get(name, {}))
    return props


def control_meanings(values: Mapping, checkpoint: Checkpoint | None) -> dict[str, dict]:
    """Which controls mean something beside what the others hold: hidden, or greyed out, where they do not."""
    has_classes = checkpoint is not None and checkpoint.classes > 0
    has_range = values["beta_schedule"] not in (COSINE, TRAINED_ONE_BY_ONE)
    trained = trained_betas(checkpoint) if checkpoint else {}
    is_trained = all(values[name] == value for name, value in trained.items())
    return {
        "class_choice": {"visible": has_classes},
        "guidance_scale": {"visible": has_classes and values["class_choice"] != NO_CLASS},
        "eta": {"visible": reads(values["sampler"], "eta")},
        "reverse_variance": {"visible": reads(values["sampler"], "reverse_variance")},
        "beta_start": {"visible": has_range},
        "beta_end": {"visible": has_range},
        "conditioning": {"interactive": not is_trained},
    }


def sampler_title(name: str, language: str) -> str:
    """What the page calls a sampler: as the texts do, else as its scripts do."""
    return texts(language).get(f"controls.sampler.{name}", SAMPLERS[name].title)


def field_words(field: str, language: str) -> str:
    """The name of a field of the settings, as its control has it."""
    return say(language, f"controls.{'class_choice' if field == 'class_label' else field}.label")


def _choices(language: str, name: str, values: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(say(language, f"controls.{name}.{value}"), value) for value in values]


def _classes(language: str, checkpoint: Checkpoint | None) -> list[tuple[str, str]]:
    names = checkpoint.class_names if checkpoint else ()
    shown = [(say_name(language, "classes", name), str(number)) for number, name in enumerate(names)]
    return [*_choices(language, "class_choice", (MIXED,)), *shown, *_choices(language, "class_choice", (NO_CLASS,))]


def _schedules(language: str, checkpoint: Checkpoint | None) -> list[tuple[str, str]]:
    trained = checkpoint.beta_schedule if checkpoint else None
    choices = _choices(language, "beta_schedule", SCHEDULES)
    if trained is None:
        return [*_choices(language, "beta_schedule", (TRAINED_ONE_BY_ONE,)), *choices]
    mark = "controls.beta_schedule.as_trained"
    return [(say(language, mark, name=shown) if value == trained else shown, value) for shown, value in choices]


def _trained_words(language: str, checkpoint: Checkpoint | None) -> dict[str, str]:
    schedule = (checkpoint.beta_schedule if checkpoint else None) or TRAINED_ONE_BY_ONE
    ends = {name: getattr(checkpoint, name, None) for name in ("beta_start", "beta_end")}
    return {
        "beta_schedule": say(language, f"controls.beta_schedule.{schedule}"),
        **{name: "–" if value is None else f"{value:g}" for name, value in ends.items()},
    }


def _beta_limits(limits: tuple[float, float, float], trained: float | None) -> dict:
    least, most, step = limits
    return {"minimum": min(least, trained or least), "maximum": max(most, trained or most), "step": step}
