"""Everything that decides a run of the sampler, in one frozen and validated object.

What the app, the command line, a PNG's text and a URL know of a run is this. It holds no number of a checkpoint:
limits that depend on one (steps, classes, betas) are checked where a run is planned, in diffusion/plan.py.
"""

import json
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticKnownError

from diffusion.errors import FieldError, of_validation
from diffusion.samplers.registry import SAMPLERS, choices, reads
from diffusion.trajectory import TimestepSpacing
from diffusion.words import BetaScheduleName, Conditioning, ReverseVariance

SEEDS = 2**32  # torch's CPU generator (mt19937) keeps 32 bits: seeds that differ by this give the same noise
MAX_IMAGES = 65_536


def _known_sampler(name):
    if not isinstance(name, str) or name not in SAMPLERS:
        raise PydanticKnownError("literal_error", {"expected": choices()})
    return name


SamplerName = Annotated[str, BeforeValidator(_known_sampler)]
ClassIndex = Annotated[int, Field(ge=0, lt=2**31)]


class SamplingSettings(BaseModel):
    """A run: which pictures a checkpoint's sampler makes. Types are strict (no bool for a number, no text for one).

    Raises FieldError with one line a field, "field: what is wrong, got value".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    checkpoint: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Name of the checkpoint; none is any."
    )

    # The sampler
    sampler: SamplerName = Field(
        "ddim", description="; ".join(f"{name}: {known.title}, {known.source}" for name, known in SAMPLERS.items())
    )
    num_inference_steps: int = Field(50, ge=1, lt=2**31, description="Steps S, from 1 to the T of the checkpoint.")
    timestep_spacing: TimestepSpacing = Field(
        "trailing",
        description="Which timesteps: all but leading start at T-1, whatever S; even, quadratic and linspace end at 0; "
        "leading, linspace and trailing are as diffusers means them.",
    )
    start_step: int = Field(
        0, ge=0, lt=2**31, description="Steps left out at the noisy end, in [0, num_inference_steps)."
    )
    eta: float | None = Field(
        None, ge=0, le=1, description="ddim: share of fresh noise, by default 0; 1 is ddpm. Others: leave it out."
    )
    reverse_variance: ReverseVariance = Field(
        "posterior", description="ddpm: posterior (beta tilde, diffusers' fixed_small) or beta (fixed_large)."
    )
    clip_sample: bool = Field(True, description="Clamp each predicted picture to [-1, 1].")

    # The noise schedule; what is left out is as trained
    beta_schedule: BetaScheduleName | None = Field(None, description="Shape of the betas; by default as trained.")
    beta_start: float | None = Field(None, gt=0, lt=1, description="First beta; by default as trained.")
    beta_end: float | None = Field(None, gt=0, lt=1, description="Last beta; by default as trained.")
    conditioning: Conditioning = Field(
        "matched", description="On other betas: tell the network the same noise level, or (naive) the same number."
    )

    # The pictures
    seed: int = Field(0, ge=0, lt=SEEDS, description="Picture i is made from seed + i alone.")
    num_images: int = Field(1, ge=1, le=MAX_IMAGES, description="How many pictures.")
    class_label: ClassIndex | tuple[ClassIndex, ...] | None = Field(
        None, description="Class of all pictures, or one class for each; none is without a class."
    )
    guidance_scale: float = Field(
        1.0, ge=0, le=100, description="1: the conditional network; 0: the unconditional one; above 1: exaggerated."
    )

    def __init__(self, **fields):
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise of_validation(error) from None

    @field_validator("class_label", mode="before")
    @classmethod
    def _list_is_a_row(cls, value):
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Self:
        if self.start_step >= self.num_inference_steps:
            raise FieldError("start_step", "within", range=f"[0, {self.num_inference_steps})", got=self.start_step)
        own_eta = SAMPLERS[self.sampler].eta
        if own_eta and self.eta not in (None, own_eta):
            raise FieldError("eta", "eta_of_ddpm", sampler=self.sampler, eta=f"{own_eta:g}", got=self.eta)
        if own_eta == 0 and self.eta not in (None, 0):
            raise FieldError("eta", "eta_of_solver", sampler=self.sampler, got=self.eta)
        if not reads(self.sampler, "reverse_variance") and self.reverse_variance != "posterior":
            raise FieldError("reverse_variance", "variance_of_ddpm")
        if self.beta_schedule == "squaredcos_cap_v2" and (self.beta_start, self.beta_end) != (None, None):
            raise FieldError("beta_start, beta_end", "no_range")
        if None not in (self.beta_start, self.beta_end) and self.beta_end < self.beta_start:
            raise FieldError("beta_end", "beta_end", least=self.beta_start, got=self.beta_end)
        if self.seed + self.num_images > SEEDS:
            raise FieldError("seed", "seed_sum", bound=SEEDS, got=f"{self.seed} + {self.num_images}")
        if isinstance(self.class_label, tuple) and len(self.class_label) != self.num_images:
            raise FieldError("class_label", "classes_count", count=self.num_images, got=len(self.class_label))
        if self.class_label is None and self.guidance_scale != 1:
            raise FieldError("guidance_scale", "needs_class", got=self.guidance_scale)
        return self

    @property
    def effective_eta(self) -> float:
        """The fresh noise that the sampler runs with: 1 for ddpm."""
        return SAMPLERS[self.sampler].eta_of(self.eta)

    @property
    def read_by_sampler(self) -> dict:
        """The settings that this sampler reads and others do not."""
        return {field: getattr(self, field) for field in SAMPLERS[self.sampler].reads}

    @property
    def has_own_betas(self) -> bool:
        """Whether the run states anything of its noise schedule."""
        return (self.beta_schedule, self.beta_start, self.beta_end) != (None, None, None)

    def replace(self, **changes) -> Self:
        """The same run with some fields changed, validated anew."""
        return type(self)(**(dict(self) | changes))

    def part(self, start: int, stop: int) -> Self:
        """The run that makes pictures start..stop-1 of this one, 0 <= start < stop <= num_images, and no other."""
        if not 0 <= start < stop <= self.num_images:
            raise ValueError(f"start, stop: need 0 <= start < stop <= {self.num_images}, got {start}, {stop}")
        label = self.class_label[start:stop] if isinstance(self.class_label, tuple) else self.class_label
        return self.replace(seed=self.seed + start, num_images=stop - start, class_label=label)

    def to_json(self) -> str:
        """One line with every field, so that a default changed later changes no old run."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The settings of a JSON object. Unknown and double fields, NaN and infinity are errors: FieldError."""
        try:
            fields = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_doubles)
        except RecursionError:
            raise FieldError("settings", "not_json", reason="nested too deeply") from None
        except FieldError:
            raise
        except ValueError as error:  # a number of thousands of digits is no JSONDecodeError
            raise FieldError("settings", "not_json", reason=str(error)) from None
        if not isinstance(fields, dict):
            raise FieldError("settings", "json_object", kind=type(fields).__name__)
        return cls(**fields)


def _no_constant(name: str):
    raise FieldError("settings", "json_number", got=name)


def _no_doubles(pairs: list[tuple[str, object]]) -> dict:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise FieldError("settings", "field_twice")
    return fields
