"""What the parts of the page share: options, checkpoints, the speed of the machine, and the queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.controls.values import check_cost, settings_of
from app.explore.run import VISITORS, Known
from app.generate.film import Frame
from app.server.checkpoints import Catalogue, Checkpoint
from app.server.latency import Latency
from app.server.options import Options
from app.server.queue import Queue, Ticket
from app.server.sessions import BySession
from app.texts.messages import Refusal
from app.ui.lazy_import import lazy_import

if TYPE_CHECKING:
    from app.server.jobs import Job
    from diffusion.pipeline import DDPMLabPipeline
    from diffusion.plan import Plan

pairs = lazy_import("diffusion.experiments.comparison")


@dataclass(frozen=True)
class Services:
    """One for the whole server. Nothing of a visitor is kept in it but the queued job, the last film and what was
    explored."""

    options: Options
    catalogue: Catalogue
    films: BySession[list[Frame]] = field(default_factory=lambda: BySession(20))  # to ask for one as a file
    explored: BySession[Known] = field(default_factory=lambda: BySession(VISITORS))
    latency: Latency = field(default_factory=Latency)
    queue: Queue = field(default_factory=Queue)

    def checkpoint(self, name) -> Checkpoint | None:
        """What is known of a checkpoint; None where it cannot be used or is not there."""
        try:
            return self.catalogue.checkpoint(name)
        except ValueError:
            return None

    def plan(self, values: dict) -> tuple[DDPMLabPipeline, Plan]:
        """The run that the controls describe, checked against the checkpoint and this server. Raises ValueError."""
        checkpoint = self.catalogue.checkpoint(values["checkpoint"])
        pipeline = self.catalogue.pipeline(checkpoint.name)
        plan = pipeline.plan(settings_of(values, checkpoint, self.options))
        check_cost(self.options, plan)
        return pipeline, plan

    def expected_seconds(self, *plans: Plan) -> float:
        """Of these runs one after the other on an idle machine; those not known count nothing."""
        return sum(self.latency.expected_seconds(plan.settings.checkpoint, plan) or 0.0 for plan in plans)

    def enter_queue(self, ticket: Ticket, job: Job) -> tuple[int, float]:
        """Put a visitor's job into the queue; returns how many are before it, and for how many seconds.

        Raises Refusal if the queue is full.
        """
        before = self.queue.join(ticket, job.seconds, job)
        if before[0] >= self.options.queue_size:
            self.queue.leave(ticket)
            raise Refusal("queue_full", most=self.options.queue_size)
        return before

    def check_comparison(self, a: DDPMLabPipeline, plan_a: Plan, b: DDPMLabPipeline, plan_b: Plan) -> None:
        """Whether two runs may run side by side here. Raises ValueError."""
        pairs.check_pair(a, plan_a, b, plan_b)
        check_cost(self.options, plan_a, plan_b)
