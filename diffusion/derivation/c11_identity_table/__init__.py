"""Chapter 11, the table of identities: every claim of the chapters, run on one checkpoint.

Kinds of row. A: algebra of the schedule alone. B: true for any denoiser, evaluated on this one. C: true on average,
tested by sampling. D: the quality of this network against its record. Noise on the weights changes the values of B and
C but not their agreement: only D fails. Code index i is the paper's t = i + 1. Nats.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from diffusion.bound import InfiniteBound
from diffusion.derivation.c11_identity_table.algebra import ALGEBRA
from diffusion.derivation.c11_identity_table.any_denoiser import ANY_DENOISER
from diffusion.derivation.c11_identity_table.on_average import ON_AVERAGE
from diffusion.derivation.c11_identity_table.table import Found, Kind, Measure, Relation, Row, Subject

ROWS = tuple(sorted((*ALGEBRA, *ANY_DENOISER, *ON_AVERAGE), key=lambda row: row.number))
NOWHERE = Found(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class RowResult:
    """The result of a row, where its two sides are farthest apart: see Found. passed: None if nothing was recorded."""

    number: int
    kind: Kind
    key: str
    measure: Measure
    left: float
    right: float
    difference: float
    relation: Relation
    standard_error: float | None
    width: float
    tolerance: float
    passed: bool | None
    seconds: float


def run_identities(subject: Subject, rows: Sequence[Row] | None = None) -> Iterator[RowResult]:
    """Run the rows (by default all of ROWS) and yield each result. A side that is not a number fails its row."""
    for row in ROWS if rows is None else rows:
        began = time.perf_counter()
        try:
            found = list(row.check(subject))
        except InfiniteBound:  # a denoiser whose answers are not finite has no best variance
            found = [NOWHERE]
        worst = max(found, key=lambda f: math.inf if math.isnan(f.difference) else f.difference, default=None)
        yield RowResult(
            number=row.number,
            kind=row.kind,
            key=row.key,
            measure=row.measure,
            **(worst or NOWHERE)._asdict(),
            tolerance=row.tolerance,
            passed=None if worst is None else worst.difference <= row.tolerance,
            seconds=time.perf_counter() - began,
        )
