"""The queue of jobs that wait for the network."""

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from app.ui.events import Shown
from app.ui.progress import PREVIEW_SECONDS, Progress, WorkStep

T = TypeVar("T")

FORGOTTEN_SECONDS = 3600  # after which a job that never began is dropped: its visitor had left


class Ticket(NamedTuple):
    """The key of a job in the queue: the visitor's session and the tab."""

    session: str | None
    tab: str


@dataclass(frozen=True, eq=False)
class QueuedJob(Generic[T]):
    """A job that a click requested, planned once. steps() runs in the network's thread.

    show(progress): returns the components that change. seconds: expected on an idle machine; 0 if unknown.
    every_seconds: between two previews, see `paced`. number: tells the job from every other one of this server.
    """

    language: str
    steps: Callable[[], Iterator[WorkStep[T]]]
    show: Callable[[Progress[T]], Shown]
    seconds: float = 0.0
    every_seconds: float = PREVIEW_SECONDS
    number: int = field(default_factory=itertools.count(1).__next__)


@dataclass(eq=False)
class Place:
    """A job in the queue. job: planned when the visitor asked for it. is_stopped: whether it should end early.

    seconds: expected on an idle machine. joined, began: readings of the queue's clock in seconds; began is None while
    the job waits.
    """

    seconds: float
    joined: float
    job: QueuedJob | None = None
    began: float | None = None
    is_stopped: bool = False

    def holds(self, number: int | None) -> bool:
        """Return whether this is the place of the job with that number; None is any job."""
        return number is None or (self.job is not None and self.job.number == number)

    def seconds_left(self, now: float) -> float:
        """Seconds until the job ends; 0 once it takes longer than expected."""
        return self.seconds if self.began is None else max(0.0, self.seconds - (now - self.began))


class Queue:
    """At most one queued job per (session, tab). Thread-safe.

    Gradio has a queue of its own for the events that run the jobs, and nothing can leave that. So the queue notes which
    jobs left before they began: when the event of such a job has its turn, it ends at once.
    """

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._places: OrderedDict[Ticket, Place] = OrderedDict()
        self._left: set[tuple[Ticket, int]] = set()  # numbers of jobs that left before they began

    def join(self, ticket: Ticket, seconds: float | None, job: QueuedJob | None = None) -> tuple[int, float]:
        """Put a job at the end; return how many jobs are ahead of it, and the seconds that those will still take.

        A job that already has this ticket is stopped and removed.
        """
        now = self._clock()
        with self._lock:
            self._drop(ticket)
            for other, place in list(self._places.items()):
                if place.began is None and now - place.joined > FORGOTTEN_SECONDS:
                    del self._places[other]
            before = len(self._places), sum(place.seconds_left(now) for place in self._places.values())
            self._places[ticket] = Place(seconds or 0.0, now, job)
        return before

    def begin(self, ticket: Ticket, number: int | None = None) -> Place | None:
        """Start the job of this ticket and return its place; None if there is none, or it has begun already.

        number: of the job that is meant; None for whichever has the ticket.
        """
        with self._lock:
            place = self._places.get(ticket)
            if place is None or place.began is not None or not place.holds(number):
                return None
            place.began = self._clock()
        return place

    def has_left(self, ticket: Ticket, number: int | None) -> bool:
        """Whether this job left the queue before it began. Says so once: a job has only one event to tell."""
        with self._lock:
            found = (ticket, number) in self._left
            self._left.discard((ticket, number))
        return found

    def leave(self, ticket: Ticket, place: Place | None = None, number: int | None = None) -> None:
        """Remove the job of this ticket; given a place or a number, only if the ticket still has this one."""
        with self._lock:
            found = self._places.get(ticket)
            if found is not None and (place is None or found is place) and found.holds(number):
                del self._places[ticket]

    def stop(self, ticket: Ticket) -> QueuedJob | None:
        """Make the job of this ticket end after its current step. One that waits leaves at once, and is returned."""
        with self._lock:
            place = self._places.get(ticket)
            if place is None or place.began is not None:
                if place is not None:
                    place.is_stopped = True
                return None
            self._drop(ticket)
        return place.job

    def leave_all(self, session: str | None) -> None:
        """Stop and remove the jobs of a visitor who has left."""
        with self._lock:
            for ticket in [ticket for ticket in self._places if ticket.session == session]:
                self._drop(ticket)
            self._left = {one for one in self._left if one[0].session != session}  # Gradio drops their events too

    def _drop(self, ticket: Ticket) -> None:
        if place := self._places.pop(ticket, None):
            place.is_stopped = True
            if place.began is None and place.job is not None:
                self._left.add((ticket, place.job.number))
