"""Which tabs move to the checkpoint that was chosen in another. Pure functions.

A place is a tab, or a run of one, that has a checkpoint. One that had the same checkpoint as a leader moves with it
when its tab is opened the next time; one to which a visitor or a link gave a checkpoint of its own stays.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

LEADERS = ("generate", "compare.a", "explore")
PLACES = (*LEADERS, "compare.b")


class Followed(NamedTuple):
    """The checkpoints of all places when a tab was opened last, by place, and those to which places will move."""

    seen: dict[str, str | None]
    due: dict[str, str | None]


def follow(
    before: Followed, now: Mapping[str, str | None], opened: Collection[str]
) -> tuple[Followed, dict[str, str | None]]:
    """Return what is due after a tab was opened, and the places in it that move now, with their new checkpoints.

    now: the checkpoints of all places. opened: the places in the tab.
    """
    due = {place: name for place, name in before.due.items() if now[place] == before.seen[place]}
    for leader in LEADERS:
        old, new = before.seen[leader], now[leader]
        if new != old:
            due |= {place: new for place in PLACES if place != leader and due.get(place, now[place]) == old}
    moves = {place: name for place, name in due.items() if place in opened and name != now[place]}
    left = {place: name for place, name in due.items() if place not in opened}
    return Followed({**now, **moves}, left), moves
