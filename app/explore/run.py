"""Run grids and frontiers in the network's thread; keep each visitor's results, so that known jobs do not run again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from app.server.network import stream
from app.ui.images import visible
from app.ui.lazy_import import lazy_import
from app.ui.links import settings_of_query
from app.ui.progress import Progress, WorkStep

if TYPE_CHECKING:
    from app.server.services import Services
    from diffusion.denoisers import Description
    from diffusion.experiments.grid import Job, JobStep
    from diffusion.plan import Plan

grid = lazy_import("diffusion.experiments.grid")

GRID_PREVIEW_SECONDS = 0.4  # between two looks: a grid is many pictures to send
KNOWN_BYTES = 2_000_000  # of results kept per visitor
VISITORS = 50  # whose results are kept


@dataclass(frozen=True, eq=False)
class Found:
    """The result of a job, the seconds that it took, and the network that computed it."""

    result: Any
    seconds: float
    made_by: Description | None = None


class Known:
    """A visitor's results by job key, at most `most_bytes`: the oldest are dropped first. Thread-safe.

    Results that the newest request needs are kept whatever their size; the server's limits bound it.
    """

    def __init__(self, most_bytes: int = KNOWN_BYTES):
        self._most = most_bytes
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, Found] = OrderedDict()

    def keep(self, key: Hashable, found: Found, needed: Collection[Hashable] = ()) -> None:
        """Remember a result, without dropping those whose keys are in `needed`."""
        with self._lock:
            self._found[key] = found
            self._found.move_to_end(key)
            for old in [other for other in self._found if other != key and other not in needed]:
                if sum(map(_bytes, self._found.values())) <= self._most:
                    break
                del self._found[old]

    def of(self, jobs: Sequence[Job]) -> dict[Hashable, Found]:
        """Return the known results of these jobs, and mark them as the newest."""
        with self._lock:
            known = {job.key: self._found[job.key] for job in jobs if job.key in self._found}
            for key in known:
                self._found.move_to_end(key)
        return known


def known_run(services: Services, known: Known | None, query: str) -> tuple[Plan, Found] | None:
    """Return the plan and the pictures of the run that an address describes, if a visitor has them already; else None.

    known: the visitor's results.
    """
    try:
        settings = settings_of_query(query)
        if known is None or settings is None:
            return None
        pipeline, plan = services.plan(settings)
        version = services.catalogue.checkpoint(settings.checkpoint).sha256
    except ValueError:  # the page cannot open the address either, and says why
        return None
    job = grid.pictures_job(pipeline, plan, version)
    found = known.of([job]).get(job.key)
    return found and (plan, found)


def _bytes(found: Found) -> int:
    return 1000 + getattr(found.result, "nbytes", 0)  # nbytes of pictures; other results are a number or two


@dataclass(frozen=True, eq=False)
class Results:
    """The results of jobs after a step. found: by key, including results known before.

    current: the running job, its network calls so far and its guesses x_0_hat, (B, H, W, C) uint8; None at the end.
    """

    found: dict[Hashable, Found]
    current: tuple[Job, int, np.ndarray] | None


def explore(
    jobs: Sequence[Job],
    known: Known,
    is_stopped: Callable[[], bool] = lambda: False,
    every_seconds: float = GRID_PREVIEW_SECONDS,
) -> Iterator[Progress[Results]]:
    """Run the jobs in the network's thread; see `stream`."""
    return stream(lambda: explore_steps(jobs, known), is_stopped, every_seconds)


def explore_steps(jobs: Sequence[Job], known: Known) -> Iterator[WorkStep[Results]]:
    """Run the jobs in this thread, yielding steps counted in network calls.

    Jobs with known results do not run again; each new result is added to `known` at once.
    """
    found, needed = known.of(jobs), {job.key for job in jobs}
    to_run = grid.cheap_first(job for job in jobs if job.key not in found)
    total = sum(job.calls for job in to_run)
    work = Work(sum(job.evaluations for job in to_run))
    if not to_run:
        yield WorkStep(0, 0, lambda _: Results(found, None))
    calls = 0
    for step in grid.run_jobs(to_run):
        calls += step.taken
        work.add(step)
        if step.is_last:
            made_by = step.job.pipeline.denoiser(step.job.plans[0]).description
            found[step.job.key] = Found(step.result, work.job_seconds, made_by)
            known.keep(step.job.key, found[step.job.key], needed)

        def make(is_last: bool, step: JobStep = step) -> Results:
            current = None if is_last else (step.job, step.calls, visible(step.step.x_0_hat))
            return Results(dict(found), current)

        yield WorkStep(calls, total, make, step.is_last, work.seconds_left)


class Work:
    """Estimate the remaining seconds of jobs from the time so far, as if every network evaluation cost the same."""

    def __init__(self, evaluations: int):
        self._all, self._done = evaluations, 0.0
        self._start = self._job_start = time.monotonic()
        self.seconds = self.job_seconds = 0.0

    def add(self, step: JobStep) -> None:
        """Count a step that was taken."""
        now = time.monotonic()
        self._done += step.taken * step.job.evaluations / step.job.calls
        self.seconds = now - self._start
        self.job_seconds = now - self._job_start
        if step.is_last:
            self._job_start = now

    @property
    def seconds_left(self) -> float:
        return self.seconds / self._done * (self._all - self._done)
