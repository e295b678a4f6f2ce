"""A visitor's job on the page: planned once at the click, handed down, stopped, ended."""

import threading
from types import SimpleNamespace

import gradio as gr
import pytest

from app.server.checkpoints import Catalogue
from app.server.jobs import JobEvents, QueuedJob
from app.server.options import Options
from app.server.services import Services
from app.ui.events import UNCHANGED
from app.ui.progress import WorkStep
from diffusion.errors import FieldError

REQUEST = SimpleNamespace(session_hash="visitor", headers={"accept-language": "en"})
OTHER = SimpleNamespace(session_hash="other", headers={"accept-language": "zh"})


class Tab:
    """A tab with one kind of job. planned, ran: what was asked for, in order. gate: before the second step."""

    def __init__(self, services: Services, **how):
        self.planned, self.ran, self.failing, self.gate = [], [], False, threading.Event()
        self.gate.set()
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
            "en",
            lambda: self.steps(asked),
            lambda progress: {self.shown: f"{asked} {progress.content}"},
            every_seconds=0.0,
        )

    def steps(self, asked):
        self.ran.append(asked)
        for done in range(1, 4):
            if done == 2:
                self.gate.wait(30)
            if self.failing and done == 2:
                raise ZeroDivisionError
            yield WorkStep(done, 3, lambda _, done=done: done)

    def begin(self, request, asked: str) -> dict:
        """Click the button; the answer, with the number that the page sends back when the run has its turn."""
        shown = self.handler("begin")(request, {self.asked: asked})
        (self.number,) = (one for one in shown if isinstance(one, gr.Number))
        return shown

    def run(self, request, begun: dict):
        """The event that follows a click, once it has its turn."""
        return self.handler("run")(request, {self.number: begun[self.number]})

    def handler(self, name: str):
        """One of the handlers that are wired, by its function's name."""
        return next(fn.fn for fn in self.blocks.fns.values() if fn.name == name)


@pytest.fixture
def services(checkpoints):
    return Services(Options(queue_size=2), Catalogue(checkpoints))


def test_a_job_is_planned_once_and_is_what_was_asked_for_at_the_click(services):
    tab = Tab(services)
    begun = tab.begin(REQUEST, "first")
    assert begun[tab.start] == gr.update(interactive=False) and begun[tab.stop] == gr.update(interactive=True)
    assert "one run at a time" in begun[tab.progress] and tab.film not in begun  # what is there stays while it waits
    other = tab.begin(OTHER, "second")
    looks = list(tab.run(REQUEST, begun))
    assert tab.planned == ["first", "second"]
    assert looks[-1][tab.shown] == "first 3" and looks[-1][tab.start] == gr.update(interactive=True)
    assert looks[-1][tab.stop] == gr.update(interactive=False) and looks[-1][tab.film] == "over"
    assert all(tab.start not in look for look in looks[:-1])
    assert [look.get(tab.film) for look in looks[:-1]] == ["", None][: len(looks) - 1]
    assert list(tab.run(OTHER, other))[-1][tab.shown] == "second 3"


def test_what_cannot_run_is_refused_at_the_click_and_takes_no_place(services):
    tab = Tab(services)
    with pytest.raises(gr.Error, match="Seed"):
        tab.handler("begin")(REQUEST, {tab.asked: "wrong"})
    assert services.queue.begin(tab.events.ticket(REQUEST)) is None


def test_a_job_that_fails_leaves_the_buttons_usable_and_its_place_free(services):
    tab = Tab(services)
    tab.failing = True
    begun = tab.begin(REQUEST, "x")
    looks = []
    with pytest.raises(gr.Error):
        for look in tab.run(REQUEST, begun):
            looks.append(look)
    assert looks[-1][tab.start] == gr.update(interactive=True) and looks[-1][tab.film] == "over"
    assert services.queue.join(tab.events.ticket(OTHER), 1.0) == (0, 0.0)


@pytest.mark.parametrize("request_", [REQUEST, OTHER])
def test_a_run_that_nobody_asked_for_is_refused_in_the_visitors_language(services, request_):
    tab = Tab(services)
    tab.begin(SimpleNamespace(session_hash="third", headers={}), "x")
    run = tab.run(request_, {tab.number: 0})
    assert next(run)[tab.start] == gr.update(interactive=True)
    with pytest.raises(gr.Error, match="not waiting" if request_ is REQUEST else "不在队伍里"):
        next(run)


def test_stop_ends_the_job_of_its_own_visitor_after_the_step_at_hand(services):
    tab = Tab(services)
    run, other = tab.run(REQUEST, tab.begin(REQUEST, "x")), tab.begin(OTHER, "x")
    tab.gate.clear()
    assert next(run)[tab.shown] == "x 1"
    assert tab.handler("halt")(REQUEST) == {tab.stop: gr.update(interactive=False)}
    tab.gate.set()
    assert list(run)[-1][tab.shown] == "x 2"
    assert list(tab.run(OTHER, other))[-1][tab.shown] == "x 3"


def test_stop_takes_a_waiting_job_out_of_the_line_at_once(services):
    tab = Tab(services)
    running, first = tab.begin(REQUEST, "running"), tab.begin(OTHER, "first")
    run = tab.run(REQUEST, running)
    tab.gate.clear()
    next(run)
    stopped = tab.handler("halt")(OTHER)
    assert stopped[tab.start] == gr.update(interactive=True) and stopped[tab.stop] == gr.update(interactive=False)
    assert "left the queue" in stopped[tab.progress]
    third = SimpleNamespace(session_hash="third", headers={})
    assert services.queue.join(tab.events.ticket(third), 1.0)[0] == 1  # behind the one that runs, and no other
    services.queue.leave(tab.events.ticket(third))
    second = tab.begin(OTHER, "second")  # the same visitor's next click, at once
    assert list(tab.run(OTHER, first)) == [UNCHANGED]  # the first one's turn comes: nothing runs, not the second either
    tab.gate.set()
    assert list(run)[-1][tab.shown] == "running 3"
    assert list(tab.run(OTHER, second))[-1][tab.shown] == "second 3"
    assert tab.ran == ["running", "second"]


def test_a_page_that_is_closed_ends_its_job_and_frees_its_place(services):
    tab = Tab(services)
    run = tab.run(REQUEST, tab.begin(REQUEST, "x"))
    next(run)
    run.close()
    assert services.queue.join(tab.events.ticket(OTHER), 1.0) == (0, 0.0)


@pytest.mark.parametrize(("is_rendered", "count"), [(False, 1), (True, 0)])
def test_a_run_that_never_began_rests_the_buttons_too_unless_they_may_be_gone(services, is_rendered, count):
    tab = Tab(services, is_rendered=is_rendered)
    rests = [fn for fn in tab.blocks.fns.values() if fn.name == "rest"]
    assert len(rests) == count
    for rest in rests:
        begun = tab.begin(REQUEST, "x")
        assert rest.fn(REQUEST, {tab.number: begun[tab.number] + 1})[tab.start] == gr.update(interactive=True)
        assert services.queue.join(tab.events.ticket(OTHER), 1.0)[0] == 1  # another job than the failed one stays
        rest.fn(REQUEST, {tab.number: begun[tab.number]})
        assert services.queue.begin(tab.events.ticket(REQUEST)) is None
