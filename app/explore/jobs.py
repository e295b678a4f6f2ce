"""What grids and frontiers cost a visitor: the jobs without a result yet, their seconds, and how they are queued."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import gradio as gr

from app.explore.grids import Frontier, Grid, frontier_of, grid_of
from app.explore.run import GRID_PREVIEW_SECONDS, VISITORS, Known, Results, explore_steps
from app.server.limits import check_cost
from app.server.queue import QueuedJob
from app.server.services import Services
from app.server.sessions import BySession
from app.ui.events import Shown
from app.ui.progress import Progress

if TYPE_CHECKING:
    from diffusion.experiments.grid import Job


class ExploreJobs:
    """The jobs of all visitors on this server, and each visitor's results."""

    def __init__(self, services: Services):
        self.services = services
        self._known: BySession[Known] = BySession(VISITORS)

    def grid(self, own: dict, values: dict) -> Grid:
        """Return the grid that the values describe. Raises ValueError."""
        return grid_of(own, values, self.services.catalogue, self.services.options)

    def frontier(self, own: dict, values: dict) -> Frontier:
        """Return the frontier that the values describe. Raises ValueError."""
        return frontier_of(own, values, self.services.catalogue, self.services.options)

    def known(self, request: gr.Request | None) -> Known:
        """Return the visitor's results so far."""
        return (request and self._known.of(self.services.visitor(request))) or Known()

    def to_run(self, jobs: Sequence[Job], known: Known) -> list[Job]:
        """Return each job without a known result once. Raises ValueError if they cost too much."""
        found = known.of(jobs)
        to_run = list({job.key: job for job in jobs if job.key not in found}.values())
        check_cost(self.services.options, *to_run)
        return to_run

    def expected_seconds(self, jobs: Sequence[Job]) -> float | None:
        """Return the seconds of all jobs together; None if one has no estimate."""
        latency = self.services.latency
        each = [latency.expected_seconds(plan.settings.checkpoint, plan) for job in jobs for plan in job.plans]
        return None if None in each else sum(each)

    def queued(
        self, request: gr.Request, language: str, jobs: Sequence[Job], show: Callable[[Progress[Results]], Shown]
    ) -> QueuedJob[Results]:
        """Return the queue's job that runs these jobs and keeps their results for the visitor."""
        known = self._known.own(self.services.visitor(request), Known)
        to_run = self.to_run(jobs, known)
        seconds = self.services.expected_seconds(*(plan for job in to_run for plan in job.plans))
        return QueuedJob(language, lambda: explore_steps(jobs, known), show, seconds, GRID_PREVIEW_SECONDS)
