"""Who waits for the network, in their order: what is told to whoever comes next."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

FORGOTTEN_SECONDS = 3600  # a run that never came to its turn: its visitor had left


class Seat(NamedTuple):
    """Whose run on which tab: what stands in line, and what Stop belongs to."""

    session: str | None
    tab: str


@dataclass
class _Place:
    seconds: float
    joined: float
    began: float | None = None

    def left(self, now: float) -> float:
        return self.seconds if self.began is None else max(0.0, self.seconds - (now - self.began))


class Line:
    """One place a seat: a visitor has one run at a time on a tab. Safe from several threads."""

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._places: OrderedDict[Seat, _Place] = OrderedDict()

    def join(self, seat: Seat, seconds: float | None) -> tuple[int, float]:
        """Stand at the end; returns how many stand before, and the seconds that they will still take."""
        now = self._clock()
        with self._lock:
            self._places.pop(seat, None)
            for other in [key for key, place in self._places.items() if now - place.joined > FORGOTTEN_SECONDS]:
                del self._places[other]
            before = len(self._places), sum(place.left(now) for place in self._places.values())
            self._places[seat] = _Place(seconds or 0.0, now)
        return before

    def begin(self, seat: Seat) -> None:
        """It is this one's turn."""
        with self._lock:
            if place := self._places.get(seat):
                place.began = self._clock()

    def leave(self, seat: Seat) -> None:
        """The run is over."""
        with self._lock:
            self._places.pop(seat, None)

    def leave_all(self, session: str | None) -> None:
        """The visitor is gone."""
        with self._lock:
            for seat in [seat for seat in self._places if seat.session == session]:
                del self._places[seat]
