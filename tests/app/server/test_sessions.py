"""What the server keeps of visitors is bounded, and nobody has another's."""

from app.server.sessions import Shelf


def test_a_shelf_keeps_each_visitors_things_apart_and_knows_the_newest():
    shelf = Shelf(100)
    shelf.keep("a", "x", "first", 10)
    shelf.keep("b", "x", "other", 10)
    shelf.keep("a", "y", "second", 10)
    assert (shelf.of("a", "x"), shelf.of("b", "x"), shelf.of("b", "y")) == ("first", "other", None)
    assert (shelf.newest("a"), shelf.newest("b"), shelf.newest("c")) == ("second", "other", None)
    shelf.keep("a", "x", "first again", 10)
    assert (shelf.of("a", "x"), shelf.newest("a")) == ("first again", "first again")


def test_the_oldest_goes_when_all_together_are_too_large():
    shelf = Shelf(100)
    for number in range(12):
        shelf.keep(f"visitor {number % 3}", str(number), number, 10)
    kept = [number for number in range(12) if shelf.of(f"visitor {number % 3}", str(number)) == number]
    assert kept == list(range(2, 12))
    shelf.keep("visitor 0", "huge", "huge", 1000)  # nothing else has room beside it
    assert shelf.newest("visitor 0") == "huge" and shelf.newest("visitor 1") is None
    shelf.keep("visitor 1", "small", "small", 1)
    assert shelf.newest("visitor 0") is None and shelf.newest("visitor 1") == "small"


def test_a_thing_that_is_replaced_takes_its_room_once():
    shelf = Shelf(100)
    for _ in range(50):
        shelf.keep("a", "x", "thing", 40)
    shelf.keep("a", "y", "thing", 40)
    assert shelf.of("a", "x") == shelf.of("a", "y") == "thing"
