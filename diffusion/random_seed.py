"""A seed of -1 in a request stands for any seed, as in other programs. Settings hold the seed that was drawn."""

import secrets
from collections.abc import Mapping
from typing import Any

RANDOM = -1
DRAWN_SEEDS = 1_000_000  # seeds that people can read out


def draw_seed() -> int:
    """Return a random seed, from the operating system's source: torch's and numpy's generators stay as they are."""
    return secrets.randbelow(DRAWN_SEEDS)


def with_drawn_seed(fields: Mapping[str, Any], drawn: int | None = None) -> dict[str, Any]:
    """Return the fields of a request with a random seed, or `drawn`, in place of -1; settings hold an actual seed."""
    is_random = type(fields.get("seed")) is int and fields["seed"] == RANDOM
    return {**fields, "seed": draw_seed() if drawn is None else drawn} if is_random else dict(fields)
