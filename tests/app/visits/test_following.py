"""Which tabs move to a checkpoint that was chosen in another."""

from app.visits.following import PLACES, Followed, follow

SAME = dict.fromkeys(PLACES, "faces")
START = Followed(dict(SAME), {})
COMPARE = ("compare.a", "compare.b")


def test_nothing_moves_while_nothing_is_chosen():
    assert follow(START, SAME, ("explore",)) == (START, {})


def test_the_opened_tab_moves_at_once_and_the_others_when_they_are_opened():
    now = SAME | {"generate": "digits"}
    after, moves = follow(START, now, ("explore",))
    assert moves == {"explore": "digits"} and after.due == {"compare.a": "digits", "compare.b": "digits"}
    now |= moves
    after, moves = follow(after, now, COMPARE)
    assert moves == {"compare.a": "digits", "compare.b": "digits"} and after == Followed(now | moves, {})
    assert follow(after, now | moves, ("generate",)) == (after, {})


def test_a_checkpoint_of_its_own_stays():
    start = Followed(SAME | {"explore": "hanzi"}, {})
    now = start.seen | {"generate": "digits"}
    after, moves = follow(start, now, ("explore",))
    assert moves == {} and "explore" not in after.due
    # one that was due moves no more once it was given another by hand
    now |= {"compare.b": "clothes"}
    after, moves = follow(after, now, COMPARE)
    assert moves == {"compare.a": "digits"} and after.seen["compare.b"] == "clothes"


def test_the_second_run_leads_nobody():
    after, moves = follow(START, SAME | {"compare.b": "digits"}, ("generate",))
    assert moves == {} and after.due == {}


def test_the_newest_choice_counts_for_those_that_wait():
    after, _ = follow(START, SAME | {"generate": "digits"}, ("generate",))
    now = SAME | {"generate": "clothes"}
    after, moves = follow(after, now, ("explore",))
    assert moves == {"explore": "clothes"}
    assert after.due == {"compare.a": "clothes", "compare.b": "clothes"}


def test_back_to_the_first_checkpoint_moves_nothing():
    after, _ = follow(START, SAME | {"generate": "digits"}, ("generate",))
    _, moves = follow(after, SAME, ("explore",))
    assert moves == {}
