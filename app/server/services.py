"""Services that all parts of the page share: options, checkpoints, the speed of the machine, and the queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.server.checkpoint_facts import Checkpoint
from app.server.checkpoints import Catalogue
from app.server.latency import Latency
from app.server.limits import check_cost
from app.server.options import Options
from app.server.queue import Queue, QueuedJob, Ticket
from app.server.sessions import BySession
from app.texts.messages import Refusal

if TYPE_CHECKING:
    import gradio as gr

    from diffusion.pipeline import DDPMLabPipeline
    from diffusion.plan import Plan
    from diffusion.settings import SamplingSettings

SESSIONS = 1000  # whose visitors are known


@dataclass(frozen=True)
class Services:
    """One per server. Of a visitor it holds only the queued jobs; each feature keeps its own state per visitor.

    visitors: by session. The page begins a session each time it is loaded; a visitor stays the same.
    """

    options: Options
    catalogue: Catalogue
    latency: Latency = field(default_factory=Latency)
    queue: Queue = field(default_factory=Queue)
    visitors: BySession[str] = field(default_factory=lambda: BySession(SESSIONS))

    def visitor(self, request: gr.Request) -> str:
        """Return whose request it is; a visitor who did not say that is known by the session."""
        return self.visitors.of(request.session_hash) or str(request.session_hash)

    def checkpoint(self, name) -> Checkpoint | None:
        """Return the facts of a checkpoint; None if it cannot be used or does not exist."""
        try:
            return self.catalogue.checkpoint(name)
        except ValueError:
            return None

    def plan(self, settings: SamplingSettings) -> tuple[DDPMLabPipeline, Plan]:
        """Plan a run that names its checkpoint; check it against the checkpoint and the server's cost limit.

        Raises FieldError.
        """
        pipeline = self.catalogue.pipeline(settings.checkpoint)
        plan = pipeline.plan(settings)
        check_cost(self.options, plan)
        return pipeline, plan

    def expected_seconds(self, *plans: Plan) -> float:
        """Return the seconds of these runs in sequence on an idle machine; runs without an estimate count as 0."""
        return sum(self.latency.expected_seconds(plan.settings.checkpoint, plan) or 0.0 for plan in plans)

    def enter_queue(self, ticket: Ticket, job: QueuedJob) -> tuple[int, float]:
        """Put a visitor's job into the queue; return how many jobs are ahead of it, and their seconds in all.

        Raises Refusal if the queue is full.
        """
        before = self.queue.join(ticket, job.seconds, job)
        if before[0] >= self.options.queue_size:
            self.queue.leave(ticket)
            raise Refusal("queue_full", most=self.options.queue_size)
        return before
