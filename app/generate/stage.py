"""What a visitor has on the stage: a run that goes on, the pictures of one that ended with their film, or a sight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr

from app.controls.values import plan_run
from app.generate.run import RunView
from app.server.services import Services
from app.server.sessions import BySession, Shelf
from app.texts import say
from app.ui.events import Component, Shown
from app.ui.html import idle_line, progress_line
from app.ui.lazy_import import lazy_import
from app.ui.progress import Progress
from diffusion.sharing.recipe import to_query

if TYPE_CHECKING:
    from diffusion.denoisers import Description
    from diffusion.plan import Plan

views = lazy_import("app.generate.render")

SHELF_BYTES = 100_000_000  # of pictures and films of all visitors
SESSIONS = 500  # of which it is known whether a run is on the stage


@dataclass(frozen=True, eq=False)
class MadeRun:
    """A run that ended, or was stopped. made_by: what computed it."""

    plan: Plan
    progress: Progress[RunView]
    made_by: Description

    @property
    def version(self) -> str:
        """The SHA-256 of the checkpoint that drew it."""
        return str(self.made_by.checkpoint_sha256)

    @property
    def key(self) -> str:
        """The same for all runs that made these pictures; no run has that of a stopped one."""
        return run_key(self.plan, self.version) if self.progress.state == "done" else "stopped"

    @property
    def size(self) -> int:
        """Its bytes, about."""
        view = self.progress.content
        frames = [array for frame in view.film for array in (frame.x_t, frame.x_0_hat, frame.eps_hat)]
        return sum(array.nbytes for array in (view.x_t, view.x_0_hat, *frames) if array is not None)


def run_key(plan: Plan, version: str) -> str:
    """Return the key of the run that is planned, on this version of its checkpoint."""
    return f"{version}?{to_query(plan.settings)}"


class Stage:
    """The components that show a run, and what the server keeps of it: each visitor's runs while there is room."""

    def __init__(self, services: Services, animate: gr.Button):
        self.services, self.animate = services, animate
        self._runs: Shelf[MadeRun] = Shelf(SHELF_BYTES)
        self._with_run: BySession[bool] = BySession(SESSIONS)

    def lay_out(self) -> None:
        """Lay out the progress line and the pictures."""
        self.progress = gr.HTML(apply_default_css=False, elem_id="progress")
        self.stage = gr.HTML(apply_default_css=False, elem_id="stage")
        self.film = gr.HTML(apply_default_css=False)
        self.animate.render()
        self.animation = gr.HTML(apply_default_css=False, elem_id="animation")

    @property
    def whole(self) -> set[Component]:
        """The outputs of `put` and `rest`."""
        return {self.progress, self.stage, self.film, self.animate, self.animation}

    def has_run(self, request: gr.Request | None) -> bool:
        """Whether the session has a run on the stage, its pictures or a run that goes on."""
        return request is not None and bool(self._with_run.of(request.session_hash))

    def clear(self, request: gr.Request | None) -> None:
        """Note that something else is on the session's stage now."""
        if request is not None:
            self._with_run.drop(request.session_hash)

    def keep(self, request: gr.Request, made: MadeRun) -> None:
        """Keep a visitor's run that ended; it is the newest then."""
        self._runs.keep(self.services.visitor(request), made.key, made, made.size)

    def adopt(self, request: gr.Request, made: MadeRun) -> None:
        """Keep a visitor's run that was made in another tab, unless it was made here too: then it has a film."""
        if self._runs.of(self.services.visitor(request), made.key) is None:
            self.keep(request, made)

    def made(self, request: gr.Request | None, values: dict) -> MadeRun | None:
        """Return the visitor's own run that the controls' values describe; None if there is none, or none any more."""
        if request is None:
            return None
        try:
            plan = plan_run(self.services, values)[1]
        except ValueError:  # what is wrong is said elsewhere
            return None
        version = self.services.catalogue.checkpoint(plan.settings.checkpoint).sha256
        return self._runs.of(self.services.visitor(request), run_key(plan, version))

    def newest(self, request: gr.Request | None) -> MadeRun | None:
        """Return the visitor's newest run that ended; None if there is none, or none any more."""
        made = request and self._runs.newest(self.services.visitor(request))
        checkpoint = made and self.services.checkpoint(made.plan.settings.checkpoint)
        return made if checkpoint and checkpoint.sha256 == made.version else None

    def put(self, request: gr.Request, language: str, made: MadeRun) -> Shown:
        """Return the stage with a run that ended; it is the newest then."""
        self.keep(request, made)
        self._with_run.keep(request.session_hash, True)
        has_film = bool(made.progress.content.film)
        return {
            self.progress: progress_line(made.progress),
            self.stage: views.finished(made.progress, made.plan, self._checkpoint(made), made.made_by),
            self.film: views.film_of(made.progress) if has_film else "",
            self.animate: gr.update(visible=has_film, value=say(language, "buttons.animate")),
            self.animation: "",
        }

    def rest(self, language: str, sight: str) -> Shown:
        """Return the stage without a run. sight: what is on it instead, as HTML."""
        return {
            self.progress: idle_line("ready"),
            self.stage: sight,
            self.film: "",
            self.animate: gr.update(visible=False, value=say(language, "buttons.animate")),
            self.animation: "",
        }

    def shows(self, request: gr.Request, plan: Plan, made_by: Description) -> Callable[[Progress[RunView]], Shown]:
        """Return the function that shows a run's progress on the stage and in the film, and keeps it at its end."""
        checkpoint = self.services.catalogue.checkpoint(plan.settings.checkpoint)

        def show(progress: Progress[RunView]) -> Shown:
            self._with_run.keep(request.session_hash, True)
            if progress.state == "running":
                return {self.stage: views.running(progress)}
            self.keep(request, MadeRun(plan, progress, made_by))
            return {
                self.stage: views.finished(progress, plan, checkpoint, made_by),
                self.film: views.film_of(progress),
            }

        return show

    def _checkpoint(self, made: MadeRun):
        return self.services.catalogue.checkpoint(made.plan.settings.checkpoint)
