"""What both runs will do before any sampling: a short line on each, and behind it the details."""

from typing import TYPE_CHECKING

import gradio as gr

from app.server.services import Services
from app.texts import DEFAULT, say
from app.texts.messages import explain
from app.ui.events import Component, Shown
from app.ui.html import plan_line
from app.ui.lazy_import import lazy_import
from app.ui.marks import Mark

if TYPE_CHECKING:
    from diffusion.plan import Plan

render = lazy_import("app.compare.render")


class Preview:
    """The line on both runs and the details behind it, laid out where the object is made."""

    def __init__(self, services: Services):
        self.services = services
        self.plan = gr.HTML(apply_default_css=False)
        self.behind = gr.Accordion(say(DEFAULT, "compare.behind"), open=False)
        with self.behind:
            self.details = gr.HTML(apply_default_css=False)

    @property
    def told(self) -> set[Component]:
        """The outputs of `tell`, `refuse` and `clear`."""
        return {self.plan, self.details}

    def rewrite(self, language: str) -> Shown:
        """Return the heading of the details in a language."""
        return {self.behind: gr.update(label=say(language, "compare.behind"))}

    def tell(self, language: str, plans: "tuple[Plan, Plan]", mark: Mark) -> Shown:
        """Return what both runs will do."""
        seconds = tuple(self.services.latency.expected_seconds(plan.settings.checkpoint, plan) for plan in plans)
        summary, key = render.plan_summaries(plans, seconds, language), render.pictures_keys(plans)
        summaries = plan_line(summary, key=key, mark=mark)
        return {self.plan: summaries, self.details: render.plan_details(plans, language)}

    def refuse(self, language: str, error: ValueError, mark: Mark | None = None) -> Shown:
        """Return what is wrong with the runs."""
        return {self.plan: plan_line(explain(error, language), is_error=True, mark=mark), self.details: ""}

    def clear(self) -> Shown:
        """Return nothing to tell."""
        return dict.fromkeys(self.told, "")
