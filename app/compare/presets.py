"""Comparisons worth seeing: the settings of two runs that differ from the defaults. Texts: "presets.NAME"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.controls.values import controls_of
from app.server.checkpoint_facts import Checkpoint
from diffusion.errors import FieldError, shortened
from diffusion.samplers.registry import SAMPLERS
from diffusion.settings import SamplingSettings


@dataclass(frozen=True)
class ComparisonPreset:
    """Fields of SamplingSettings for the first and for the second run."""

    first: dict
    second: dict

    @property
    def runs(self) -> tuple[dict, dict]:
        """The fields of both runs."""
        return self.first, self.second

    def fits(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint can run it as it is, not only with fewer steps or its own β."""
        steps = max(fields.get("num_inference_steps", 1) for fields in self.runs)
        needs_range = any("beta_end" in fields for fields in self.runs)
        return steps <= checkpoint.num_train_timesteps and (checkpoint.beta_start is not None or not needs_range)


PRESETS: dict[str, ComparisonPreset] = {
    "ddpm-ddim": ComparisonPreset(dict(sampler="ddpm", num_inference_steps=50), dict(num_inference_steps=50)),
    "thousand": ComparisonPreset(dict(sampler="ddpm", num_inference_steps=1000), dict(num_inference_steps=50)),
    "eta": ComparisonPreset(dict(eta=0.0), dict(eta=1.0)),
    "few-steps": ComparisonPreset(dict(sampler="ddpm", num_inference_steps=8), dict(num_inference_steps=8)),
    "solver": ComparisonPreset(
        dict(num_inference_steps=20), dict(sampler="unipc", num_inference_steps=10, timestep_spacing="power")
    ),
    "betas": ComparisonPreset(dict(beta_end=0.01), dict(beta_end=0.01, conditioning="naive")),
    "leading": ComparisonPreset(
        dict(num_inference_steps=600), dict(num_inference_steps=600, timestep_spacing="leading")
    ),
    "clipping": ComparisonPreset(dict(num_inference_steps=20), dict(num_inference_steps=20, clip_sample=False)),
}  # fmt: skip
DEFAULT_PRESET = "ddpm-ddim"
OWN = "own"  # the value of the list of presets while the settings are none of them


def presets_of(checkpoint: Checkpoint | None) -> list[str]:
    """Return the presets that a checkpoint can show: it has their steps, and a range of β if they change it."""
    if checkpoint is None:
        return list(PRESETS)
    return [name for name, preset in PRESETS.items() if preset.fits(checkpoint)]


def matching_preset(settings: Sequence[SamplingSettings], checkpoint: Checkpoint) -> str | None:
    """Return the preset that both runs are, with any seed and number of pictures; None if there is none."""
    a, b = settings
    shared = a.checkpoint, a.seed, a.num_images
    if shared != (b.checkpoint, b.seed, b.num_images) or a.checkpoint != checkpoint.name:
        return None
    shown = [controls_of(one, checkpoint) for one in settings]  # equal for all words that mean the same run
    for name in presets_of(checkpoint):
        if [controls_of(one, checkpoint) for one in preset_settings(name, checkpoint, a.seed, a.num_images)] == shown:
            return name
    return None


def counterpart(name: str, side: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a run to compare with: the same but for what sets the preset's two runs apart.

    values: of a run's controls. side: 0 or 1, the run of the preset that takes the counterpart's place; if `values` are
    that run, the other.
    """
    own, other = PRESETS[name].runs[side], PRESETS[name].runs[1 - side]
    usual = SamplingSettings()
    apart = [field for field in {**own, **other} if _field(own, field, usual) != _field(other, field, usual)]
    for fields in (own, other):
        beside = dict(values) | {field: _field(fields, field, usual) for field in apart}
        if "timestep_spacing" not in apart and values["timestep_spacing"] == SAMPLERS[values["sampler"]].spacing:
            beside["timestep_spacing"] = SAMPLERS[beside["sampler"]].spacing
        if beside != values:
            break
    return beside


def _field(fields: dict, name: str, usual: SamplingSettings):
    return fields.get(name, getattr(usual, name))


def preset_settings(
    name: str, checkpoint: Checkpoint, seed: int = 0, num_images: int = 4
) -> tuple[SamplingSettings, SamplingSettings]:
    """Return the settings of a preset's two runs on a checkpoint. Raises FieldError if the preset does not exist."""
    check_preset(name)
    first, second = (_settings(fields, checkpoint, seed, num_images) for fields in PRESETS[name].runs)
    return first, second


def check_preset(name: str) -> None:
    """Check that a preset exists. Raises FieldError if not."""
    if name not in PRESETS:
        raise FieldError("preset", "one_of", choices=", ".join(PRESETS), got=shortened(name))


def _settings(fields: dict, checkpoint: Checkpoint, seed: int, num_images: int) -> SamplingSettings:
    steps = min(fields.get("num_inference_steps", 50), checkpoint.num_train_timesteps)
    has_range = checkpoint.beta_start is not None
    own = {name: value for name, value in fields.items() if has_range or name not in ("beta_end", "conditioning")}
    if "beta_end" in own:
        own |= {"beta_schedule": checkpoint.beta_schedule, "beta_start": checkpoint.beta_start}
        own["beta_end"] = max(own["beta_end"] * checkpoint.beta_end / 0.02, checkpoint.beta_start)
    classes = checkpoint.classes
    labels = tuple(k % classes for k in range(num_images)) if classes else None
    known = {"checkpoint": checkpoint.name, "seed": seed, "num_images": num_images, "class_label": labels}
    return SamplingSettings(**known | own | {"num_inference_steps": steps})
