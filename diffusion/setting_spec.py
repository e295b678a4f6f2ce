"""What a settings field declares beside its type: its control, its axis, where it applies, its part in a key.

A field declares these in its Annotated[...]; the page, the endpoints, the axes and the keys read them from `Setting`. A
new setting therefore takes one field, the code that uses it, and texts:

    noise_scale: Annotated[
        float,
        Control(group="sampler", step=0.1),  # a slider among the details of the sampler
        OnAxis("0-2[5]"),  # and an axis of Explore
        When("sampler", lambda sampler: reads(sampler, "noise_scale")),
    ] = Field(1.0, ge=0, le=2, description="Shown by /generate, and by the page until it has texts.")

Its texts are controls.NAME.label and .info, explanations.NAME ({value}), grids.values.NAME, and for each choice X
controls.NAME.X. Imports no torch: the page is laid out before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

LAST = 99  # the place of a control or axis that names none


@dataclass(frozen=True)
class Limits:
    """What a checkpoint and a server allow; the defaults are for an unknown checkpoint."""

    num_train_timesteps: int = 1000
    max_images: int = 64


Bound = float | Callable[[Limits], float]


@dataclass(frozen=True, kw_only=True)
class Control:
    """How a person chooses the setting on the page.

    group: the part of a run's controls that holds it: "basics", "seed", "count", "guidance", "schedule" or "sampler".
    place: position in its group, from 1. kind: "slider", "number", "radio", "dropdown" or "checkbox"; by default chosen
    from the type. least, most: ends of the offered range, by default the field's own; a run can go beyond them. step:
    of a slider. scale: "log" gives each decade of a slider the same length; its least value is then above 0. chips:
    values of a slider that one tap sets, as far as they lie in its range. unit: shown after the label. default: initial
    value, if not the field's. name: the control's name, if not the field's. codec: converts between the control's value
    and the settings, see app/controls/codecs.py. told_by: the control whose sentence about a run covers this setting
    too. in_foot: whether a saved grid names it.
    """

    group: str
    place: int = LAST
    kind: Literal["slider", "number", "radio", "dropdown", "checkbox"] | None = None
    least: Bound | None = None
    most: Bound | None = None
    step: float | None = None
    scale: Literal["linear", "log"] = "linear"
    chips: tuple[Bound, ...] = ()
    unit: str = ""
    default: Any = None
    name: str | None = None
    codec: str = "plain"
    told_by: str | None = None
    in_foot: bool = False


@dataclass(frozen=True)
class OnAxis:
    """The setting can be an axis of Explore.

    example: initial values; by default all of its choices. place: position in the list of axes. has_none: whether the
    word "none" is a value.
    """

    example: str = ""
    place: int = LAST
    has_none: bool = False


@dataclass(frozen=True)
class When:
    """The values of another setting with which this one has a meaning.

    on: a field or property of the settings, or "classes", the number of classes of the checkpoint. test: of its value,
    which can be anything that was sent. is_greyed: if the test fails, the control is greyed out and its value stays;
    otherwise it is hidden, and the field's default holds. error: key of the error for a run that sets it nevertheless;
    None if a validator reports more.
    """

    on: str
    test: Callable[[Any], bool]
    is_greyed: bool = False
    error: str | None = "no_meaning"


@dataclass(frozen=True)
class CachedAs:
    """The setting's value in the key of a run's pictures: the same for all values that make the same pictures.

    value: a function of a Plan.
    """

    value: Callable[[Any], Any]


@dataclass(frozen=True)
class Choices:
    """The choices of a field whose type does not list them. titles: name -> what it is called without texts."""

    titles: Callable[[], Mapping[str, str]]


@dataclass(frozen=True)
class DecidesLevels:
    """The setting decides the timesteps that a run visits, or their noise levels: /schedule takes it."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A field of the settings, with everything the program knows about it.

    kinds: the plain types of its values. least, most: bounds of its values, None for no bound.
    """

    name: str
    description: str
    default: Any
    annotation: Any
    kinds: frozenset[type]
    least: float | None
    most: float | None
    control: Control | None
    axis: OnAxis | None
    when: When | None
    cached_as: CachedAs | None
    decides_levels: bool
    listed: Choices | None = field(repr=False, default=None)

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a field with named choices, the default first; empty for other fields."""
        return tuple(sorted(self.titles, key=lambda name: name != self.default))

    @property
    def titles(self) -> Mapping[str, str]:
        """Each choice -> what it is called if it has no text."""
        return self.listed.titles() if self.listed else {name: name for name in _literals(self.annotation)}

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers."""
        return int in self.kinds

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return bool(self.kinds & {int, float})

    @property
    def control_name(self) -> str:
        """The name of its control on the page."""
        return (self.control and self.control.name) or self.name

    @property
    def control_kind(self) -> str:
        """The kind of its control, if it has one."""
        return self.control.kind or ("checkbox" if bool in self.kinds else "radio" if self.choices else "slider")

    def applies(self, facts: Mapping[str, Any]) -> bool:
        """Whether the setting has a meaning with these values of other settings; a missing fact is no obstacle.

        facts: name -> value, of fields and of anything else that `When` tests.
        """
        return self.when is None or self.when.on not in facts or bool(self.when.test(facts[self.when.on]))

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Whether its own value is used with these facts, rather than its default."""
        return self.applies(facts) or self.when.is_greyed

    def offered(self, limits: Limits) -> tuple[float | None, float | None]:
        """Return the ends of the range that its control offers, None for no bound."""
        asked = (self.control.least, self.control.most) if self.control else (None, None)
        least, most = (bound(limits) if callable(bound) else bound for bound in asked)
        return self.least if least is None else least, self.most if most is None else most

    def chips(self, limits: Limits) -> list[float]:
        """Return the values that one tap sets: those within the offered range, each once."""
        least, most = self.offered(limits)
        asked = [chip(limits) if callable(chip) else chip for chip in self.control.chips]
        return sorted({chip for chip in asked if least <= chip <= most})


def read_settings(model: type[BaseModel]) -> dict[str, Setting]:
    """Return the settings that a model declares, by name, in the model's order."""
    return {name: _read(name, info) for name, info in model.model_fields.items()}


def kinds_of(annotation) -> frozenset[type]:
    """Return the plain types inside an annotation."""
    if get_origin(annotation) is Literal:
        return frozenset({str})
    own = frozenset({get_origin(annotation) or annotation})
    inner = [a for a in get_args(annotation) if isinstance(a, type) or get_origin(a) is not None]
    return own.union(*map(kinds_of, inner))


def _read(name: str, info: FieldInfo) -> Setting:
    declared = {type(one): one for one in info.metadata}
    bounds = {key: getattr(one, key) for one in info.metadata for key in ("ge", "gt", "le", "lt") if hasattr(one, key)}
    return Setting(
        name=name,
        description=info.description or "",
        default=info.default,
        annotation=info.annotation,
        kinds=kinds_of(info.annotation),
        least=bounds.get("ge", bounds.get("gt")),
        most=bounds.get("le", bounds.get("lt")),
        control=declared.get(Control),
        axis=declared.get(OnAxis),
        when=declared.get(When),
        cached_as=declared.get(CachedAs),
        decides_levels=DecidesLevels in declared,
        listed=declared.get(Choices),
    )


def _literals(annotation) -> tuple[str, ...]:
    """Return the names that a type lists, itself or as a part of a union."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    inner = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return next((found for one in inner if (found := _literals(one))), ())
