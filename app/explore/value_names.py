"""What the values of an axis are called on the page, in every language: whatever is shown can also be typed."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from app.controls.codecs import CODECS, MIXED, NO_CLASS
from app.server.checkpoint_facts import Checkpoint
from app.server.checkpoints import Catalogue
from app.texts import LANGUAGES, say, say_name, texts
from diffusion.experiments.axes import FIELDS, SAMPLERS_AND_ETAS, Names


def value_names(
    field, checkpoint: Checkpoint | None, catalogue: Catalogue, languages: Iterable[str] = LANGUAGES
) -> Names:
    """Return the names of a field's values in these languages. checkpoint: supplies the classes."""
    if field == SAMPLERS_AND_ETAS:
        field = "sampler"
    if field not in FIELDS:
        return Names()
    known: dict[str, Any] = {}
    for language in languages:
        for value, shown in _shown(field, checkpoint, catalogue, language):
            if re.search(r"[^-+.,\d\s]", shown):  # what is written as a number means the number
                known.setdefault(shown, value)
    listed = (*checkpoint.class_names, "none") if field == "class_label" and checkpoint and checkpoint.classes else ()
    return Names(known, listed)


def pickable(field, checkpoint: Checkpoint | None, catalogue: Catalogue, language: str) -> list[tuple[str, str]]:
    """Return (display name, text of the value) of each value that can be picked; [] for a field of free numbers."""
    if field not in FIELDS:
        return []
    codec = CODECS[field]
    if field == "checkpoint":
        usable = (name for name in catalogue.names() if catalogue.error_of(name) is None)
        return [(say_name(language, "checkpoints", name), name) for name in usable]
    if field == "class_label":
        shown = codec.choices(language, checkpoint)
        return [(name, value) for name, value in shown if value != MIXED] if checkpoint and checkpoint.classes else []
    return [(codec.choice_words(value, language), value) for value in codec.setting.choices]


def _shown(field: str, checkpoint: Checkpoint | None, catalogue: Catalogue, language: str) -> Iterator[tuple[Any, str]]:
    codec = CODECS[field]
    if field == "checkpoint":
        yield from ((name, name) for name in catalogue.names())
        yield from ((name, say_name(language, "checkpoints", name)) for name in catalogue.names())
    elif field == "class_label":
        for number, name in enumerate(checkpoint.class_names if checkpoint else ()):
            yield from ((number, name), (number, say_name(language, "classes", name)))
        yield from ((None, say(language, "explore.no_class")), (None, codec.choice_words(NO_CLASS, language)))
    elif bool in codec.setting.kinds:
        yield from ((True, say(language, "grids.yes")), (False, say(language, "grids.no")))
    for value in codec.setting.choices:
        yield from ((value, codec.choice_words(value, language)), (value, codec.value_words(value, None, language)))
        if field == "sampler":
            yield from ((value, name) for name in _elsewhere(value, language))


def _elsewhere(sampler: str, language: str) -> list[str]:
    """Return what other programs call a sampler."""
    said = [texts(language).get(f"elsewhere.{sampler}.{program}", "") for program in ("webui", "comfy")]
    return [name for one in said for name in re.findall("`([^`]+)`", one)]
