"""Run a visitor's job, from the click on its button to its last update: begin, stream, stop, end."""

from collections.abc import Callable, Iterator, Sequence, Set

import gradio as gr

from app.server.network import NETWORK, stream
from app.server.queue import QueuedJob, Ticket
from app.server.services import Services
from app.texts import language_of
from app.texts.messages import Refusal, explain
from app.ui.events import PRIVATE, UNCHANGED, Component, Sent, Shown, refusals, to_the_end
from app.ui.html import idle_line, progress_line, waiting_line

# Queued although it is quick: Gradio shows the error of an event only if the event went through the queue
CLICK = {"preprocess": False, **PRIVATE, "queue": True, "concurrency_limit": None}
# Waits for its turn on the network
NETWORK_EVENT = {
    "show_progress": "hidden", "show_progress_on": [], "api_visibility": "private",
    "concurrency_id": NETWORK, "concurrency_limit": 1,
}  # fmt: skip


ON_SCREEN = "() => onScreen.begin('%s', '%s')"


class JobEvents:
    """The buttons and the progress line that the jobs of one tab share; `wire` connects a kind of job to its button.

    starts: buttons that are disabled while a job runs, as is everything in `resting`. language(sent): the page's
    language. explained(error, language): the text of a refusal.
    """

    def __init__(
        self,
        services: Services,
        tab: str,
        starts: Sequence[gr.Button],
        stop: gr.Button,
        progress: gr.HTML,
        language: Callable[[Sent], str],
        resting: Set[Component] = frozenset(),
        explained: Callable[[ValueError, str], str] = explain,
    ):
        self.services, self.tab = services, tab
        self.starts, self.stop, self.progress = starts, stop, progress
        self._language, self._resting, self._explained = language, resting, explained
        stop.click(self.halt, None, {*self._buttons(is_running=False), progress}, **PRIVATE)

    def wire(
        self,
        button: gr.Button,
        plan: Callable[[gr.Request, Sent], QueuedJob],
        inputs: Set[Component],
        outputs: Set[Component],
        result: Component,
        cleared: Shown | None = None,
        ended: Shown | None = None,
        is_rendered: bool = False,
    ) -> gr.events.Dependency:
        """Plan a job at each click on a button, then run it when the network is free; returns the event of its run.

        plan(request, sent): returns the job, or raises FieldError to refuse it. outputs: of the job's `show`. result:
        what the visitor waits for; it and the progress line have an elem_id, by which on_screen.js finds them. cleared,
        ended: further changes when the job begins, and when it ends in any way after that. is_rendered: the components
        may be gone when the job ends (gr.render), and then Gradio cannot find an event that follows it.
        """
        cleared, ended = cleared or {}, ended or {}
        rested = self._buttons(is_running=False) | ended
        buttons = {*self._buttons(is_running=False)}
        # Says which job an event is to run: when the event has its turn, that job may have been stopped long since, and
        # another may wait
        number = gr.Number(visible=False, precision=0)

        def begin(request: gr.Request, sent: Sent) -> Shown:
            """Refuse a job that cannot run; else queue it and show that it waits."""
            language = self._language(sent)
            with refusals(language, self._explained):
                job = plan(request, sent)
                before = self.services.enter_queue(self.ticket(request), job)
            return self._buttons(is_running=True) | {self.progress: waiting_line(before), number: job.number}

        def run(request: gr.Request, sent: Sent) -> Iterator[Shown]:
            """Yield the updates of the job; hold the network until it ends."""
            yield from self._run(request, _number(sent[number]), cleared, rested)

        def rest(request: gr.Request, sent: Sent) -> Shown:
            """Reset the tab after a run that could not begin, or broke off."""
            self.services.queue.leave(self.ticket(request), number=_number(sent[number]))
            return rested

        button.click(None, js=ON_SCREEN % (self.progress.elem_id, result.elem_id), **PRIVATE)
        begun = button.click(begin, inputs, buttons | {self.progress, number}, **CLICK)
        shown = buttons | {self.progress} | outputs | set(cleared) | set(ended)
        # Beside the event of a job that was stopped while it waited, another one of the same button can wait
        how = {"preprocess": False, "trigger_mode": "multiple"}
        running = begun.success(run, {number}, shown, **how, **NETWORK_EVENT)
        if not is_rendered:
            running.failure(rest, {number}, buttons | set(ended), preprocess=False, **PRIVATE)
        return running

    def _run(self, request: gr.Request, number: int | None, cleared: Shown, rested: Shown) -> Iterator[Shown]:
        ticket = self.ticket(request)
        if self.services.queue.has_left(ticket, number):
            yield UNCHANGED
            return
        place = self.services.queue.begin(ticket, number)
        job: QueuedJob | None = place and place.job
        language = job.language if job else language_of(request.headers.get("accept-language"))
        failed = {self.progress: idle_line("failed")} | rested

        def looks() -> Iterator[Shown]:
            if job is None:
                raise Refusal("no_job")
            first = cleared
            for progress in stream(job.steps, lambda: place.is_stopped, job.every_seconds):
                shown = first | {self.progress: progress_line(progress)} | job.show(progress)
                yield shown if progress.state == "running" else shown | rested
                first = {}

        try:
            yield from to_the_end(looks(), failed, language, self._explained)
        finally:
            if place is not None:
                self.services.queue.leave(ticket, place)

    def halt(self, request: gr.Request) -> Shown:
        """Stop the job after its current step; its output so far stays. One that waits leaves the queue at once."""
        job = self.services.queue.stop(self.ticket(request))
        if job is None:
            return {self.stop: gr.update(interactive=False)}
        return self._buttons(is_running=False) | {self.progress: idle_line("left_queue")}

    def ticket(self, request: gr.Request) -> Ticket:
        """Return the ticket of this visitor's job on the tab."""
        return Ticket(request.session_hash, self.tab)

    def _buttons(self, is_running: bool) -> Shown:
        idle = gr.update(interactive=not is_running)
        return dict.fromkeys([*self.starts, *self._resting], idle) | {self.stop: gr.update(interactive=is_running)}


def _number(sent) -> int | None:
    """Return the number of a job as the browser sent it; None if it sent anything else."""
    return sent if isinstance(sent, int) else None
