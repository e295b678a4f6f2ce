"""Everything that decides a run of the sampler, in one frozen, validated object.

The app, the command line, a PNG's text and a URL all state a run in this form. It holds no number of a checkpoint:
limits that depend on one (steps, classes, betas) are checked where a run is planned, in diffusion/plan.py.
"""

import json
from collections.abc import Callable
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticKnownError

from diffusion.errors import CheckedModel, FieldError, shortened
from diffusion.samplers.registry import SAMPLERS, choices, reads
from diffusion.setting_spec import CachedAs, Choices, Control, DecidesLevels, Limits, OnAxis, When, read_settings
from diffusion.trajectory import TimestepSpacing
from diffusion.words import CHECKPOINT_NAME, BetaScheduleName, Conditioning, ReverseVariance, Start, has_range

SEEDS = 2**32  # torch's CPU generator (mt19937) keeps 32 bits: seeds that differ by this give the same noise
MAX_IMAGES = 65_536


def _known_sampler(name):
    if not isinstance(name, str) or name not in SAMPLERS:
        raise PydanticKnownError("literal_error", {"expected": choices()})
    return name


SamplerName = Annotated[str, BeforeValidator(_known_sampler)]
ClassIndex = Annotated[int, Field(ge=0, lt=2**31)]


def _none_as_trained(field: str) -> Callable:
    """Return the function from a plan to the field's value in a key: None on the trained betas, however stated."""
    return lambda plan: None if plan.on_trained_betas else getattr(plan.settings, field)


def _all_steps(limits: Limits) -> int:
    """Return the T of the checkpoint."""
    return limits.num_train_timesteps


class SamplingSettings(CheckedModel):
    """A run: which pictures a checkpoint's sampler makes. Types are strict (no bool for a number, no text for one).

    Raises FieldError with one line per field, "field: what is wrong, got value".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    # A field declares here everything the program knows about it: see diffusion/setting_spec.py. Add new fields at the
    # end, since /generate takes its parameters in this order too

    checkpoint: Annotated[
        str | None,
        Control(group="basics", place=1, kind="dropdown", codec="checkpoint", in_foot=True),
        OnAxis(place=11),
        DecidesLevels(),
    ] = Field(None, pattern=CHECKPOINT_NAME, description="Name of the checkpoint's folder.")

    # The sampler
    sampler: Annotated[
        SamplerName,
        Choices(lambda: {name: known.title for name, known in SAMPLERS.items()}),
        Control(group="basics", place=3, in_foot=True),
        OnAxis(place=2),
    ] = Field(
        "ddim", description="; ".join(f"{name}: {known.title}, {known.source}" for name, known in SAMPLERS.items())
    )
    num_inference_steps: Annotated[
        int,
        Control(group="basics", place=4, most=_all_steps, step=1, chips=(10, 20, 50, 100, _all_steps), in_foot=True),
        OnAxis("4, 10, 50", place=1),
        DecidesLevels(),
    ] = Field(50, ge=1, lt=2**31, description="Steps S, from 1 to the T of the checkpoint.")
    timestep_spacing: Annotated[
        TimestepSpacing,
        Control(group="sampler", place=3),
        # With all T steps every spacing visits all timesteps
        CachedAs(lambda plan: "even" if len(plan.pairs) == len(plan.trained) else plan.settings.timestep_spacing),
        DecidesLevels(),
    ] = Field(
        "trailing",
        description="Which timesteps: even, quadratic, power and trailing start at T-1, linspace from S = 2 on; then "
        "even, quadratic and linspace end at 0. leading, linspace and trailing are diffusers' own. The default is one "
        "for all samplers; /explore and /frontier put power for dpmpp_2m and unipc in its place, and so can you.",
    )
    start_step: Annotated[int, DecidesLevels()] = Field(
        0, ge=0, lt=2**31, description="Steps skipped at the noisy end, in [0, num_inference_steps)."
    )
    eta: Annotated[
        float | None,
        Control(group="sampler", place=1, step=0.01, default=0.0, told_by="sampler"),
        OnAxis("0-1[5]", place=3),
        When("sampler", lambda sampler: reads(sampler, "eta"), error=None),
        CachedAs(lambda plan: plan.settings.eta or None),
    ] = Field(
        None, ge=0, le=1, description="ddim: share of fresh noise, by default 0; 1 is ddpm. Others: leave it out."
    )
    reverse_variance: Annotated[
        ReverseVariance,
        Control(group="sampler", place=2, told_by="sampler"),
        When("sampler", lambda sampler: reads(sampler, "reverse_variance"), error="variance_of_ddpm"),
    ] = Field("posterior", description="ddpm: posterior (beta tilde, diffusers' fixed_small) or beta (fixed_large).")
    clip_sample: Annotated[bool, Control(group="sampler", place=4)] = Field(
        True, description="Clamp each predicted picture to [-1, 1]."
    )

    # The noise schedule; fields left out are as trained
    beta_schedule: Annotated[
        BetaScheduleName | None,
        Control(group="schedule", place=1, kind="dropdown", codec="shape"),
        OnAxis(place=6),
        CachedAs(_none_as_trained("beta_schedule")),
        DecidesLevels(),
    ] = Field(None, description="Shape of the betas; as trained if left out.")
    beta_start: Annotated[
        float | None,
        Control(
            group="schedule",
            place=2,
            least=1e-5,
            most=0.01,
            step=1e-5,
            scale="log",
            codec="betas",
            told_by="beta_schedule",
        ),
        OnAxis("0.0001, 0.0005, 0.002", place=4),
        When("beta_schedule", has_range, error=None),
        CachedAs(_none_as_trained("beta_start")),
        DecidesLevels(),
    ] = Field(None, gt=0, lt=1, description="First beta; as trained if left out.")
    beta_end: Annotated[
        float | None,
        Control(
            group="schedule",
            place=3,
            least=5e-4,
            most=0.2,
            step=5e-4,
            scale="log",
            codec="betas",
            told_by="beta_schedule",
        ),
        OnAxis("0.01, 0.02, 0.04", place=5),
        When("beta_schedule", has_range, error=None),
        CachedAs(_none_as_trained("beta_end")),
        DecidesLevels(),
    ] = Field(None, gt=0, lt=1, description="Last beta; as trained if left out.")
    conditioning: Annotated[
        Conditioning,
        Control(group="schedule", place=4),
        OnAxis(place=7),
        When("has_own_betas", bool, is_greyed=True, error=None),
        CachedAs(lambda plan: "matched" if plan.on_trained_betas else plan.settings.conditioning),
        DecidesLevels(),
    ] = Field(
        "matched",
        description="On other betas: condition the network on the same noise level, or (naive) on the same timestep.",
    )

    # The pictures
    seed: Annotated[
        int,
        Control(group="seed", kind="number", most=lambda limits: SEEDS - limits.max_images, in_foot=True),
        OnAxis("0-4", place=8),
    ] = Field(
        0,
        ge=0,
        lt=SEEDS,
        description="Picture i is made from seed + i alone. Links and endpoints draw a seed for -1, and say which.",
    )
    num_images: Annotated[
        int,
        # The initial value fills the stage: three rows of six
        Control(group="count", most=lambda limits: limits.max_images, step=1, default=18, told_by="seed", in_foot=True),
    ] = Field(1, ge=1, le=MAX_IMAGES, description="How many pictures.")
    class_label: Annotated[
        ClassIndex | tuple[ClassIndex, ...] | None,
        Control(
            group="basics", place=2, kind="dropdown", name="class_choice", codec="classes", told_by="guidance_scale"
        ),
        OnAxis(place=9, has_none=True),
        When("classes", bool, error=None),
    ] = Field(None, description="Class of all pictures, or a list with one per picture; none means no class.")
    guidance_scale: Annotated[
        float,
        Control(group="guidance", most=8, step=0.1, in_foot=True),
        OnAxis("0, 1, 2, 4", place=10),
        When("class_label", lambda label: label is not None, error="needs_class"),
    ] = Field(
        1.0, ge=0, le=100, description="1: the conditional network; 0: the unconditional one; above 1: exaggerated."
    )

    # The first state
    start: Annotated[Start, Control(group="schedule", place=5)] = Field(
        "noise",
        description="The first state: pure noise, or (gaussian) noise with the mean and covariance that pictures of "
        "the data have at the first timestep.",
    )

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
        if not has_range(self.beta_schedule) and (self.beta_start, self.beta_end) != (None, None):
            raise FieldError("beta_start, beta_end", "no_range")
        if None not in (self.beta_start, self.beta_end) and self.beta_end < self.beta_start:
            raise FieldError("beta_end", "beta_end", least=self.beta_start, got=self.beta_end)
        if self.seed + self.num_images > SEEDS:
            raise FieldError("seed", "seed_sum", bound=SEEDS, got=f"{self.seed} + {self.num_images}")
        if isinstance(self.class_label, tuple) and len(self.class_label) != self.num_images:
            raise FieldError("class_label", "classes_count", count=self.num_images, got=len(self.class_label))
        facts = self.facts
        for name, setting in SETTINGS.items():
            if facts[name] != setting.default and not setting.applies(facts) and setting.when.error:
                raise FieldError(name, setting.when.error, field=setting.when.on, got=shortened(facts[name]))
        return self

    @property
    def effective_eta(self) -> float:
        """The eta that the sampler runs with: 1 for ddpm."""
        return SAMPLERS[self.sampler].eta_of(self.eta)

    @property
    def read_by_sampler(self) -> dict:
        """The values of the settings that this sampler reads and others do not, by name."""
        return {field: getattr(self, field) for field in SAMPLERS[self.sampler].reads}

    @property
    def facts(self) -> dict[str, Any]:
        """The values that `When` can test: the fields, and whether the run has its own betas."""
        return dict(self) | {"has_own_betas": self.has_own_betas}

    @property
    def has_own_betas(self) -> bool:
        """Whether the run states any part of its noise schedule."""
        return (self.beta_schedule, self.beta_start, self.beta_end) != (None, None, None)

    def replace(self, **changes) -> Self:
        """Return the same run with some fields changed, validated again."""
        return type(self)(**(dict(self) | changes))

    def part(self, start: int, stop: int) -> Self:
        """Return the run that makes only pictures start..stop-1 of this one.

        Raises ValueError unless 0 <= start < stop <= num_images.
        """
        if not 0 <= start < stop <= self.num_images:
            raise ValueError(f"start, stop: need 0 <= start < stop <= {self.num_images}, got {start}, {stop}")
        label = self.class_label[start:stop] if isinstance(self.class_label, tuple) else self.class_label
        return self.replace(seed=self.seed + start, num_images=stop - start, class_label=label)

    def to_json(self) -> str:
        """Return one line with every field, so that a later change of a default changes no old run."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read settings from a JSON object. Raises FieldError, also for unknown or repeated fields, NaN, infinity."""
        try:
            fields = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_doubles)
        except RecursionError:
            raise FieldError("settings", "not_json", reason="nested too deeply") from None
        except FieldError:
            raise
        except ValueError as error:  # thousands of digits raise no JSONDecodeError
            raise FieldError("settings", "not_json", reason=str(error)) from None
        if not isinstance(fields, dict):
            raise FieldError("settings", "json_object", kind=type(fields).__name__)
        return cls(**fields)


SETTINGS = read_settings(SamplingSettings)
"""What each field declares, by name."""


def _no_constant(name: str):
    raise FieldError("settings", "json_number", got=name)


def _no_doubles(pairs: list[tuple[str, object]]) -> dict:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise FieldError("settings", "field_twice")
    return fields
