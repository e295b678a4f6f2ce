"""A visitor's job on the page: planned once at the click, handed down, stopped, ended."""

from types import SimpleNamespace

import gradio as gr
import pytest

from app.server.checkpoints import Catalogue
from app.server.jobs import JobEvents, QueuedJob
from app.server.options import Options
from app.server.services import Services
from app.ui.progress import WorkStep
from diffusion.errors import FieldError

REQUEST = SimpleNamespace(session_hash="visitor", headers={"accept-language": "en"})
OTHER = SimpleNamespace(session_hash="other", headers={"accept-language": "zh"})


class Tab:
    """A tab with one kind of job. planned: what was asked for, in order."""

    def __init__(self, services: Services, **how):
        self.planned, self.failing = [], False
        with gr.Blocks() as self.blocks:
            self.asked, self.shown, self.film = gr.Textbox(), gr.HTML(), gr.HTML()
            self.start, self.stop, self.progress = gr.Button(), gr.Button(), gr.HTML()
            self.events = JobEvents(services, "tab", [self.start], self.stop, self.progress, lambda _: "en")
            self.events.wire(
                self.start,
                self.plan,
                {self.asked},
                {self.shown},
                self.shown,
                {self.film: ""},
                {self.film: "over"},
                **how,
            )

    def plan(self, request, sent) -> QueuedJob:
        asked = sent[self.asked]
        if asked == "wrong":
            raise FieldError("seed", "missing")
        self.planned.append(asked)
        return QueuedJob(
            "en", self.steps, lambda progress: {self.shown: f"{asked} {progress.content}"}, every_seconds=0.0
        )

    def steps(self):
        for done in range(1, 4):
            if self.failing and done == 2:
                raise ZeroDivisionError
            yield WorkStep(done, 3, lambda _, done=done: done)

    def handler(self, name: str):
        """One of the handlers that are wired, by its function's name."""
        return next(fn.fn for fn in self.blocks.fns.values() if fn.name == name)


@pytest.fixture
def services(checkpoints):
    return Services(Options(queue_size=2), Catalogue(checkpoints))


def test_a_job_is_planned_once_and_is_what_was_asked_for_at_the_click(services):
    tab = Tab(services)
    begun = tab.handler("begin")(REQUEST, {tab.asked: "first"})
    assert begun[tab.start] == gr.update(interactive=False) and begun[tab.stop] == gr.update(interactive=True)
    assert "one run at a time" in begun[tab.progress] and begun[tab.film] == ""
    tab.handler("begin")(OTHER, {tab.asked: "second"})
    looks = list(tab.handler("run")(REQUEST))
    assert tab.planned == ["first", "second"]
    assert looks[-1][tab.shown] == "first 3" and looks[-1][tab.start] == gr.update(interactive=True)
    assert looks[-1][tab.stop] == gr.update(interactive=False) and looks[-1][tab.film] == "over"
    assert all(tab.start not in look for look in looks[:-1])
    assert list(tab.handler("run")(OTHER))[-1][tab.shown] == "second 3"


def test_what_cannot_run_is_refused_at_the_click_and_takes_no_place(services):
    tab = Tab(services)
    with pytest.raises(gr.Error, match="Seed"):
        tab.handler("begin")(REQUEST, {tab.asked: "wrong"})
    assert services.queue.begin(tab.events.ticket(REQUEST)) is None


def test_a_job_that_fails_leaves_the_buttons_usable_and_its_place_free(services):
    tab = Tab(services)
    tab.failing = True
    tab.handler("begin")(REQUEST, {tab.asked: "x"})
    looks = []
    with pytest.raises(gr.Error):
        for look in tab.handler("run")(REQUEST):
            looks.append(look)
    assert looks[-1][tab.start] == gr.update(interactive=True) and looks[-1][tab.film] == "over"
    assert services.queue.join(tab.events.ticket(OTHER), 1.0) == (0, 0.0)


@pytest.mark.parametrize("request_", [REQUEST, OTHER])
def test_a_run_that_nobody_asked_for_is_refused_in_the_visitors_language(services, request_):
    tab = Tab(services)
    run = tab.handler("run")(request_)
    assert next(run)[tab.start] == gr.update(interactive=True)
    with pytest.raises(gr.Error, match="not waiting" if request_ is REQUEST else "不在队伍里"):
        next(run)


def test_stop_ends_the_job_of_its_own_visitor_after_the_step_at_hand(services):
    tab = Tab(services)
    for request in (REQUEST, OTHER):
        tab.handler("begin")(request, {tab.asked: "x"})
    assert tab.handler("halt")(OTHER) == {tab.stop: gr.update(interactive=False)}
    assert list(tab.handler("run")(REQUEST))[-1][tab.shown] == "x 3"
    assert list(tab.handler("run")(OTHER))[-1][tab.shown] == "x 1"


def test_a_page_that_is_closed_ends_its_job_and_frees_its_place(services):
    tab = Tab(services)
    tab.handler("begin")(REQUEST, {tab.asked: "x"})
    run = tab.handler("run")(REQUEST)
    next(run)
    run.close()
    assert services.queue.join(tab.events.ticket(OTHER), 1.0) == (0, 0.0)


@pytest.mark.parametrize(("is_rendered", "count"), [(False, 1), (True, 0)])
def test_a_run_that_never_began_rests_the_buttons_too_unless_they_may_be_gone(services, is_rendered, count):
    tab = Tab(services, is_rendered=is_rendered)
    rests = [fn for fn in tab.blocks.fns.values() if fn.name == "rest"]
    assert len(rests) == count
    for rest in rests:
        services.queue.join(tab.events.ticket(REQUEST), 1.0)
        assert rest.fn(REQUEST)[tab.start] == gr.update(interactive=True)
        assert services.queue.begin(tab.events.ticket(REQUEST)) is None
