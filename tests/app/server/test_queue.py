"""The queue before the network: each ticket's place, its expected wait, and the job it belongs to."""

import pytest

from app.server.checkpoints import Catalogue
from app.server.jobs import QueuedJob
from app.server.options import Options
from app.server.queue import FORGOTTEN_SECONDS, Queue, Ticket
from app.server.services import Services
from app.texts.messages import Refusal, explain
from app.ui.html import waiting_line
from diffusion.settings import SamplingSettings

A, B, C, D, GONE = (Ticket(name, "generate") for name in ("a", "b", "c", "d", "gone"))


def job(seconds: float) -> QueuedJob:
    return QueuedJob("en", lambda: iter(()), lambda progress: {}, seconds)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_whoever_comes_is_told_how_many_stand_before_and_how_long():
    clock = Clock()
    queue = Queue(clock)
    assert queue.join(A, 10.0) == (0, 0.0)
    queue.begin(A)
    clock.now += 4
    assert queue.join(B, 5.0) == (1, 6.0)
    assert queue.join(C, None) == (2, 11.0)
    clock.now += 60  # a takes longer than expected: it counts, and takes no time
    assert queue.join(D, 1.0) == (3, 5.0)
    queue.leave(A)
    assert queue.join(C, 2.0) == (2, 6.0)  # one place a run: again means at the end
    queue.leave(GONE)
    queue.begin(GONE)


def test_a_visitor_has_a_place_on_each_tab_and_gives_up_all_when_gone():
    queue = Queue(Clock())
    queue.join(A, 10.0)
    assert queue.join(Ticket("a", "explore"), 5.0) == (1, 10.0)
    queue.leave(A)
    queue.join(B, 1.0)
    assert queue.join(A, 1.0) == (2, 6.0)
    queue.leave_all("a")
    assert queue.join(C, 1.0) == (1, 1.0)


def test_who_never_comes_is_forgotten():
    clock = Clock()
    queue = Queue(clock)
    queue.join(GONE, 50.0)
    clock.now += FORGOTTEN_SECONDS + 1
    assert queue.join(A, 1.0) == (0, 0.0)


def test_the_shop_knows_how_long_runs_take(checkpoints):
    services = Services(Options(), Catalogue(checkpoints))
    pipeline = services.catalogue.pipeline("clothes")
    plan = pipeline.plan(SamplingSettings(checkpoint="clothes", num_inference_steps=20, num_images=4))
    services.latency.measure("clothes", pipeline)
    seconds = services.latency.expected_seconds("clothes", plan)
    assert services.expected_seconds(plan, plan) == pytest.approx(2 * seconds) and seconds > 0
    assert (
        services.expected_seconds(
            plan.__class__(**vars(plan) | {"settings": plan.settings.replace(checkpoint="faces")})
        )
        == 0
    )
    assert services.enter_queue(A, job(2 * seconds)) == (0, 0.0)
    assert services.enter_queue(B, job(seconds)) == (1, pytest.approx(2 * seconds))


def test_the_wait_is_said():
    assert "2 before you, about 13 s" in waiting_line((2, 12.7))
    assert "前面还有 2 个" in waiting_line((2, 12.7))
    assert "one run at a time" in waiting_line((0, 0.0))


def test_a_full_queue_is_said_and_nobody_waits_in_it_for_nothing(checkpoints):
    services = Services(Options(queue_size=2), Catalogue(checkpoints))
    assert [services.enter_queue(ticket, job(1.0))[0] for ticket in (A, B)] == [0, 1]
    with pytest.raises(Refusal) as full:
        services.enter_queue(C, job(1.0))
    assert "2 runs are waiting" in explain(full.value, "en") and "前面有 2 个" in explain(full.value, "zh")
    assert services.queue.begin(C) is None
    services.queue.leave(A)
    assert services.enter_queue(C, job(1.0))[0] == 1


def test_a_job_is_handed_to_its_own_visitor_once():
    queue, jobs = Queue(), {ticket: job(1.0) for ticket in (A, B)}
    for ticket, one in jobs.items():
        queue.join(ticket, one.seconds, one)
    assert queue.begin(B).job is jobs[B] and queue.begin(A).job is jobs[A]
    assert queue.begin(A) is None and queue.begin(C) is None
    queue.leave(A)
    assert queue.begin(A) is None


def test_stop_ends_one_job_and_no_other():
    queue = Queue()
    places = {}
    for ticket in (A, Ticket("a", "explore"), B):
        queue.join(ticket, 1.0, job(1.0))
    for ticket in (A, Ticket("a", "explore"), B):
        places[ticket] = queue.begin(ticket)
    queue.stop(A)
    queue.stop(GONE)
    assert [place.is_stopped for place in places.values()] == [True, False, False]
    queue.leave_all("a")
    assert [place.is_stopped for place in places.values()] == [True, True, False]


def test_a_job_that_is_stopped_before_it_began_leaves_at_once_and_its_event_is_told_once():
    queue, first, second = Queue(Clock()), job(10.0), job(10.0)
    queue.join(A, 10.0, first)
    assert queue.stop(A) is first
    assert queue.join(B, 1.0) == (0, 0.0)
    queue.join(A, 10.0, second)
    assert queue.begin(A, first.number) is None and queue.begin(A, second.number).job is second
    assert queue.stop(A) is None  # it has begun: it ends after its step
    assert queue.has_left(A, first.number) and not queue.has_left(A, first.number)
    assert not queue.has_left(A, second.number) and not queue.has_left(A, None)


def test_a_waiting_job_that_the_next_click_replaces_has_left_too():
    queue, first = Queue(Clock()), job(1.0)
    queue.join(A, 1.0, first)
    queue.join(A, 1.0, job(1.0))
    assert queue.has_left(A, first.number)


def test_the_next_job_of_a_ticket_stops_the_one_before_and_is_not_removed_by_its_end():
    queue = Queue()
    queue.join(A, 1.0, job(1.0))
    first = queue.begin(A)
    queue.join(A, 1.0, job(1.0))
    assert first.is_stopped
    queue.leave(A, first)
    second = queue.begin(A)
    assert second is not first and not second.is_stopped


def test_a_job_that_runs_long_is_not_forgotten():
    clock = Clock()
    queue = Queue(clock)
    queue.join(A, 10.0)
    queue.begin(A)
    clock.now += 2 * FORGOTTEN_SECONDS
    assert queue.join(B, 1.0) == (1, 0.0)
