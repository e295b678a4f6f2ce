"""The line before the network: who stands where, and how long it will take."""

import pytest

from app import views
from app.catalogue import Catalogue
from app.line import FORGOTTEN_SECONDS, Line, Seat
from app.messages import Refusal, explain
from app.options import Options
from app.shop import Shop
from diffusion.settings import SamplingSettings

A, B, C, D, GONE = (Seat(name, "generate") for name in ("a", "b", "c", "d", "gone"))


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_whoever_comes_is_told_how_many_stand_before_and_how_long():
    clock = Clock()
    line = Line(clock)
    assert line.join(A, 10.0) == (0, 0.0)
    line.begin(A)
    clock.now += 4
    assert line.join(B, 5.0) == (1, 6.0)
    assert line.join(C, None) == (2, 11.0)
    clock.now += 60  # a takes longer than expected: it counts, and takes no time
    assert line.join(D, 1.0) == (3, 5.0)
    line.leave(A)
    assert line.join(C, 2.0) == (2, 6.0)  # one place a run: again means at the end
    line.leave(GONE)
    line.begin(GONE)


def test_a_visitor_has_a_place_on_each_tab_and_gives_up_all_when_gone():
    line = Line(Clock())
    line.join(A, 10.0)
    assert line.join(Seat("a", "explore"), 5.0) == (1, 10.0)
    line.leave(A)
    line.join(B, 1.0)
    assert line.join(A, 1.0) == (2, 6.0)
    line.leave_all("a")
    assert line.join(C, 1.0) == (1, 1.0)


def test_who_never_comes_is_forgotten():
    clock = Clock()
    line = Line(clock)
    line.join(GONE, 50.0)
    clock.now += FORGOTTEN_SECONDS + 1
    assert line.join(A, 1.0) == (0, 0.0)


def test_the_shop_knows_how_long_runs_take(checkpoints):
    shop = Shop(Options(), Catalogue(checkpoints))
    pipeline = shop.catalogue.pipeline("clothes")
    plan = pipeline.plan(SamplingSettings(checkpoint="clothes", num_inference_steps=20, num_images=4))
    shop.pace.measure("clothes", pipeline)
    seconds = shop.pace.expected_seconds("clothes", plan)
    shop.stop_signs.put_up(A)
    assert shop.queue_up(A, plan, plan) == (0, 0.0) and not shop.stop_signs.is_up(A)
    count, wait = shop.queue_up(B, plan)
    assert count == 1 and abs(wait - 2 * seconds) < 1e-9


def test_the_wait_is_said():
    assert "2 before you, about 13 s" in views.waiting((2, 12.7), "en")
    assert "前面还有 2 个" in views.waiting((2, 12.7), "zh")
    assert "one run at a time" in views.waiting((0, 0.0), "en")


def test_a_full_line_is_said_and_nobody_stands_in_it_for_nothing(checkpoints):
    shop = Shop(Options(queue_size=2), Catalogue(checkpoints))
    shop.stop_signs.put_up(C)
    assert [shop.stand_in_line(seat, 1.0)[0] for seat in (A, B)] == [0, 1]
    with pytest.raises(Refusal) as full:
        shop.stand_in_line(C, 1.0)
    assert "2 runs are waiting" in explain(full.value, "en") and "前面有 2 个" in explain(full.value, "zh")
    assert shop.stop_signs.is_up(C)
    shop.line.leave(A)
    assert shop.stand_in_line(C, 1.0)[0] == 1
