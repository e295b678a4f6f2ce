"""Endpoints that take settings one by one: names, types, defaults and descriptions come from the settings' fields."""

import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from diffusion.setting_spec import Setting

HERE = "SETTINGS"  # the line of a docstring that the settings' descriptions replace


def with_settings(endpoint: Callable, settings: Iterable[Setting]) -> Callable:
    """Give an endpoint, a function of *given and **named, the signature, annotations and docstring of these settings.

    The checkpoint gets no default. Gradio reads all three; of each setting's description it reads one line.
    """
    settings = list(settings)
    parameters = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty if one.name == "checkpoint" else one.default,
            annotation=str if one.name == "checkpoint" else _sent(one),
        )
        for one in settings
    ]
    returned = endpoint.__annotations__["return"]
    endpoint.__signature__ = inspect.Signature(parameters, return_annotation=returned)
    endpoint.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": returned}
    lines = "\n    ".join(f"{one.name}: {one.description}" for one in settings)
    endpoint.__doc__ = inspect.cleandoc(endpoint.__doc__).replace(HERE, lines)
    return endpoint


def fields_of(endpoint: Callable, given: Sequence, named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that an endpoint was called with, by name; those left out have their defaults."""
    bound = inspect.signature(endpoint).bind(*given, **named)
    bound.apply_defaults()
    return bound.arguments


def _sent(setting: Setting) -> Any:
    """Return the type of a setting's value in JSON."""
    return Literal[tuple(setting.titles)] if setting.listed else _as_json(setting.annotation)


def _as_json(annotation) -> Any:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal or not inner:
        return annotation
    if origin is Annotated:
        return _as_json(inner[0])
    if origin is tuple:
        return list[_as_json(inner[0])]
    return functools.reduce(operator.or_, map(_as_json, inner))
