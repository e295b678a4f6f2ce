"""Errors as data: which field is wrong, which problem it has (a key), and the numbers and names in the sentence.

Code that receives a value raises the error; code that shows it looks up the sentence by key, in any language. The
sentences here are those of the library and the command line; the web page has its own. Imports neither torch nor app.
"""

import re

from pydantic import BaseModel, ValidationError

# Key -> the problem in English, shown after "field: ". Values are texts, numbers, a tuple of choices, or an error.
SENTENCES = {
    # One value of any field
    "missing": "needs a value",
    "required": "Field required",
    "unknown_field": "Extra inputs are not permitted, got {got}",
    "invalid": "{reason}, got {got}",
    "other": "{reason}",
    "choice": "Input should be {choices}, got {got}",
    "one_of": "must be one of {choices}, got {got}",
    "unknown": "{got} is unknown; known are {choices}",
    "whole_number": "Input should be a valid integer, got {got}",
    "number": "Input should be a valid number, got {got}",
    "finite": "Input should be a finite number, got {got}",
    "yes_no": "Input should be a valid boolean, got {got}",
    "text": "Input should be a valid string, got {got}",
    "pattern": "String should match pattern {pattern}, got {got}",
    "too_long": "must be at most {most} characters long, got {got}",
    "too_many_values": "must have at most {most} values, got {got}",
    "at_least": "Input should be greater than or equal to {bound}, got {got}",
    "above": "Input should be greater than {bound}, got {got}",
    "at_most": "Input should be less than or equal to {bound}, got {got}",
    "below": "Input should be less than {bound}, got {got}",
    "within": "must lie in {range}, got {got}",
    # The settings of a run, also against a checkpoint
    "beta_end": "must lie in [beta_start, 1) = [{least}, 1), got {got}",
    "betas": "each must lie in (0, 1), got {least} to {most}",
    "few_betas": "needs at least 2 betas in one row, got shape {shape}",
    "too_noisy": "too large together: no signal is left at the end (alphas_cumprod is 0 in float64)",
    "zero_snr": "a schedule that ends in pure noise has no epsilon form here",
    "no_range": "the schedule squaredcos_cap_v2 has no use for them",
    "trained_no_range": "this checkpoint's schedule, squaredcos_cap_v2, has no use for them",
    "given_betas": "this checkpoint's betas were given one by one; name a shape with the range",
    "eta_of_ddpm": "{sampler} is eta = {eta}; for another eta use the sampler ddim, got {got}",
    "eta_of_solver": "{sampler} draws no noise; for an eta above 0 use ddim, got {got}",
    "variance_of_ddpm": "beta belongs to ddpm; in ddim eta decides the noise",
    "seed_sum": "seed + num_images must not exceed {bound}, got {got}",
    "classes_count": "needs one class or {count} (one per picture), got {got}",
    "no_meaning": "has no meaning with this {field}, got {got}",
    "needs_class": "needs a class_label to guide to, got {got}",
    "no_classes": "this checkpoint has no classes, got {got}",
    "no_pictures": "gaussian needs pictures of the data, but the checkpoint has no {file} that fits",
    "no_pictures_of_class": "gaussian needs pictures of each class, but {file} has none of class {got}",
    "other_checkpoint": "these settings are for {own}, not for {other}",
    "evaluations": "must be at least {bound} here, got {got}",
    "infinite_bound": "the bound is infinite at a reverse variance of {got}",
    # Settings and recipes read from a text or a file
    "not_json": "not JSON: {reason}",
    "json_object": "must be a JSON object, got {kind}",
    "json_number": "{got} is not a JSON number",
    "field_twice": "names a field twice",
    "recipe_long": "longer than {most} characters",
    "newer_recipe": "format {got} is of a newer version of this program; this one reads up to {known}",
    "no_settings": "the recipe has none",
    "file_large": "the file is larger than {most} MB",
    "picture_large": "larger than {most} pixels on a side",
    "no_png": "not a PNG file, or a damaged one",
    "no_recipe": "carries no recipe of DDPM Lab (other programs often remove it when they save)",
    # Experiments of several runs
    "axis": "{axis}: {problem}",
    "axis_value": "{axis}, value {position}: {problem}",
    "part": "{part}: {problem}",
    "random_on_axis": "-1 draws a random seed only where one seed is asked for; an axis takes seeds from 0",
    "axis_twice": "is on another axis already",
    "axes": "a grid has 1 to {most}, got {got}",
    "cells": "a grid has at most {most} cells, got {got}",
    "values_kind": "must be a list of values or a text, got {kind}",
    "twice": "each value must appear only once, got {got} again",
    "range_count": "a range takes [2] to [{most}] values, got [{got}]",
    "range_up": "a range goes up, over at most {most} whole numbers, got {got}",
    "range_step": "the step must lead from the first value towards the last, got {got}",
    "whole_way": "must be 0, since a frontier's runs take every step, got {got}",
    "sizes": "both must make pictures of one size, got {first} and {second} (channels, height, width)",
    "counts": "must be the same in both runs, got {first} and {second}",
    # A checkpoint's folder
    "no_folder": "is no checkpoint folder, it has no {file}",
    "json_large": "{file} is too large",
    "file_not_json": "{file} is not JSON",
    "file_not_object": "{file} is not a JSON object",
    "pipeline_kind": "its pipeline is {got}, known are {known}",
    "parts": "model_index.json must name a unet and a scheduler, and no more",
    "unet_kind": "its unet is {got}, known is diffusers' UNet2DModel",
    "scheduler_kind": "its scheduler is {got}, known are {known}",
    "class_differs": "{file} is of a {found}, model_index.json says {named}",
    "no_weights": "unet/ has no safetensors weights (pickled ones are not read)",
    "weights_index": "the index of the weights names {got}, not a safetensors file",
    "unreadable": "cannot be loaded: {reason}",
    "weights_differ": "weights and unet/config.json do not fit: {weight}",
    "not_unet": "must be a UNet2DModel, got {kind}",
    "not_scheduler": "must be a DDPMScheduler or DDIMScheduler, got {kind}",
    "sample_size": "sample_size must be one number, the side of square pictures",
    "channels": "needs as many channels out as in, 1 or 3, got {inputs} in, {outputs} out",
    "time_embedding": "a {kind} time embedding takes no fractional timesteps",
    "class_embed": "class_embed_type {kind} is unknown; labels are numbers here",
    "few_embeds": "num_class_embeds must be at least 2, one class and 'no class'",
    "prediction_type": "prediction_type {got} is not one of {known}",
    "thresholding": "dynamic thresholding is not supported",
    "clip_range": "clip_sample_range must be 1, got {got}",
    "learned_variance": "a learned variance is not supported",
    "wrong_schedule": "{problem}",
    "betas_count": "{count} trained_betas, but num_train_timesteps is another number",
    "replaced": "was replaced by another checkpoint; ask again",
    "no_features": "has no feature space (reference/{file}); python -m training.features {name} makes one",
    "features_differ": "reference/{file} is not what {record} describes (its hash differs)",
    "features_unreadable": "its feature space cannot be read: {reason}",
    "no_feature_classes": "this feature network was trained without classes",
}

# pydantic's error type -> the key, and for each value of its sentence the name in the error's context
PYDANTIC = {
    "missing": ("required", {}),
    "extra_forbidden": ("unknown_field", {}),
    "greater_than_equal": ("at_least", {"bound": "ge"}),
    "greater_than": ("above", {"bound": "gt"}),
    "less_than_equal": ("at_most", {"bound": "le"}),
    "less_than": ("below", {"bound": "lt"}),
    "int_type": ("whole_number", {}),
    "int_parsing": ("whole_number", {}),
    "int_parsing_size": ("whole_number", {}),
    "int_from_float": ("whole_number", {}),
    "float_type": ("number", {}),
    "float_parsing": ("number", {}),
    "finite_number": ("finite", {}),
    "bool_type": ("yes_no", {}),
    "bool_parsing": ("yes_no", {}),
    "string_type": ("text", {}),
    "string_pattern_mismatch": ("pattern", {"pattern": "pattern"}),
    "string_too_long": ("too_long", {"most": "max_length"}),
    "too_long": ("too_many_values", {"most": "max_length"}),
    "literal_error": ("choice", {"choices": "expected"}),
}


class FieldError(ValueError):
    """A field is wrong; as text "field: what is wrong, got value".

    field: its name; "beta_start, beta_end" for fields that are wrong together; "" for no field. key: the problem, see
    SENTENCES. values: of its sentence. findings: the errors of single fields, one line of text each; only this error,
    unless `together` made it.
    """

    def __init__(self, field: str, key: str, /, **values):
        self.field, self.key, self.values = field, key, values
        self.findings: tuple[FieldError, ...] = (self,)
        problem = self.english()
        super().__init__(f"{field}: {problem}" if field else problem)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of all wrong fields."""
        return tuple(name for one in self.findings for name in one.field.split(", ") if name)

    def english(self) -> str:
        """Return the problem in English, without the field."""
        values = {name: _listed(value) if isinstance(value, tuple) else value for name, value in self.values.items()}
        return SENTENCES[self.key].format(**values)

    @classmethod
    def of(cls, field: str, key: str, value, **values) -> "FieldError":
        """Return the error of a field with this value; if the value is None, the error that it needs one."""
        return cls(field, "missing") if value is None else cls(field, key, got=shortened(value), **values)


class PartError(FieldError):
    """An error within one part of a request: "part: field: problem".

    part: its name, such as one of two compared runs or an object that was sent. problem: the error there.
    """

    def __init__(self, part: str, problem: ValueError):
        super().__init__("", "part", part=part, problem=problem)


class AxisError(FieldError):
    """An error of an axis: "axis, value 2: field: problem".

    axis: its name. position: of the wrong value, from 1; None if the axis as a whole is wrong. problem: the field's
    error.
    """

    def __init__(self, axis: str, position: int | None, problem: FieldError):
        place = {} if position is None else {"position": position}
        super().__init__("", "axis_value" if place else "axis", axis=axis, **place, problem=problem)
        self.axis, self.position, self.problem = axis, position, problem


class CheckpointError(FieldError):
    """A folder is not a checkpoint that this program reads; as text one sentence. field: the checkpoint's name."""

    @property
    def fields(self) -> tuple[str, ...]:
        return ("checkpoint",)


class FeatureError(CheckpointError):
    """A checkpoint's feature space cannot be used; as a text one sentence."""


def together(findings: list[FieldError]) -> FieldError:
    """Combine the errors of several fields: field and key of the first one, one line of text for each."""
    first = findings[0]
    if len(findings) == 1:
        return first
    error = FieldError(first.field, first.key, **first.values)
    error.findings = tuple(findings)
    error.args = ("\n".join(map(str, findings)),)
    return error


class CheckedModel(BaseModel):
    """A pydantic model whose fields are refused by a FieldError."""

    def __init__(self, **fields):
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise of_validation(error) from None


def of_validation(error: ValidationError) -> FieldError:
    """Convert what pydantic found, or a validator raised, to one error: the first finding of each field."""
    found: dict[str, FieldError] = {}
    for finding in error.errors():
        for one in _found(finding).findings:
            found.setdefault(one.field, one)
    return together(list(found.values()))


def _found(finding) -> FieldError:
    context = finding.get("ctx", {})
    raised = context.get("error")
    if isinstance(raised, FieldError):
        return raised
    if not finding["loc"]:
        return FieldError("", "other", reason=str(raised or finding["msg"]))
    field, value = str(finding["loc"][0]), finding["input"]
    key, places = PYDANTIC.get(finding["type"], ("invalid", {}))
    values = {place: _bound(context[name]) for place, name in places.items()}
    if key == "required":
        return FieldError(field, key)
    if key in ("too_long", "too_many_values"):
        return FieldError(field, key, **values, got=len(value))
    if key == "choice":  # "'a', 'b' or 'c'"
        values["choices"] = tuple(choice.strip("'") for choice in re.split(", | or ", values["choices"]))
    elif key == "pattern":
        values["pattern"] = repr(values["pattern"])
    elif key == "invalid":
        values["reason"] = str(raised or finding["msg"])
    return FieldError.of(field, key, value, **values)


def shortened(value) -> str:
    """Return the repr of a value, at most 80 characters, for use in an error."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _bound(value):
    return f"{value:g}" if isinstance(value, float) else value  # 1, not 1.0


def _listed(choices: tuple) -> str:
    quoted = [repr(choice) for choice in choices]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}" if len(quoted) > 1 else "".join(quoted)
