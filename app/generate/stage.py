"""What a session has on the stage: the pictures of its last run, and the frames of their film."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import gradio as gr

from app.generate.run import RunView
from app.server.services import Services
from app.server.sessions import BySession
from app.ui.events import Shown
from app.ui.lazy_import import lazy_import
from app.ui.progress import Progress

if TYPE_CHECKING:
    from app.generate.film import Frame
    from diffusion.pipeline import DDPMLabPipeline
    from diffusion.plan import Plan

views = lazy_import("app.generate.render")

FILMS = 20  # kept on the server, one per session, to save as an animation
SESSIONS = 500  # of which it is known whether a run is on the stage


class Stage:
    """The components that show a run, and what the server keeps of it."""

    def __init__(self, services: Services, stage: gr.HTML, film: gr.HTML):
        self.services, self.stage, self.film = services, stage, film
        self.films: BySession[list[Frame]] = BySession(FILMS)
        self._with_run: BySession[bool] = BySession(SESSIONS)

    def has_run(self, request: gr.Request | None) -> bool:
        """Whether the session has a run on the stage, its pictures or a run that goes on."""
        return request is not None and bool(self._with_run.of(request.session_hash))

    def hold(self, request: gr.Request) -> None:
        """Note that pictures of a run are on the session's stage now."""
        self._with_run.keep(request.session_hash, True)

    def clear(self, request: gr.Request | None) -> None:
        """Note that something else is on the session's stage now."""
        if request is not None:
            self._with_run.drop(request.session_hash)

    def shows(self, request: gr.Request, pipeline: DDPMLabPipeline, plan: Plan) -> Callable[[Progress[RunView]], Shown]:
        """Return the function that shows a run's progress on the stage and in the film."""
        checkpoint = self.services.catalogue.checkpoint(plan.settings.checkpoint)
        made_by = pipeline.denoiser(plan).description

        def show(progress: Progress[RunView]) -> Shown:
            self.hold(request)
            if progress.state == "running":
                return {self.stage: views.running(progress)}
            self.films.keep(request.session_hash, list(progress.content.film))
            return {
                self.stage: views.finished(progress, plan, checkpoint, made_by),
                self.film: views.film_of(progress),
            }

        return show
