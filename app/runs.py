"""Runs the sampler in the network's own thread, and says now and then how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Literal

import numpy as np

from app.film import Frame, frame_steps
from app.line import Seat
from app.memory import give_back
from app.messages import Refusal
from app.pictures import visible
from app.sessions import BySession
from diffusion.settings import SamplingSettings

if TYPE_CHECKING:
    from diffusion.pipeline import DDPMLabPipeline
    from diffusion.sampling import Step

NETWORK = "network"  # the concurrency_id of everything that runs the network: one run at a time
PREVIEW_SECONDS = 0.25
DESK_PLACES, DESK_SECONDS = 12, 20

# One thread for all runs: OpenMP keeps a pool of threads for each thread that calls it
_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=NETWORK)


# Another for what answers at once, so that many sliders at a time are no load: it waits for no run, and none for it
_desk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="desk")
_places = threading.BoundedSemaphore(DESK_PLACES)


def at_the_desk(work: Callable):
    """What `work` returns, computed when those before it are done. Raises Refusal where too many wait."""
    if not _places.acquire(timeout=DESK_SECONDS):
        raise Refusal("busy")
    try:
        return _desk.submit(work).result()
    finally:
        _places.release()


def in_network_thread(work: Callable):
    """What `work` returns, computed when the network is free."""
    return _executor.submit(work).result()


@dataclass(frozen=True)
class Moment:
    """A run after a step. x_t, x_0_hat: (B, H, W, C) uint8.

    finite: whether every number of x_t is one; those that are not are shown as 0. film: of the whole run, in its last
    moment only.
    """

    step: int
    steps: int
    seconds: float
    x_t: np.ndarray
    x_0_hat: np.ndarray
    finite: bool
    state: Literal["running", "done", "stopped"]
    film: tuple[Frame, ...] = ()

    @property
    def seconds_left(self) -> float:
        return self.seconds / self.step * (self.steps - self.step)


class StopSigns:
    """For which runs Stop was pressed. Only the newest `size` are kept."""

    def __init__(self, size: int = 1000):
        self._signs: BySession[bool] = BySession(size)

    def put_up(self, seat: Seat) -> None:
        self._signs.keep(str(seat), True)

    def take_down(self, seat: Seat) -> None:
        self._signs.drop(str(seat))

    def is_up(self, seat: Seat) -> bool:
        return self._signs.of(str(seat)) is not None


def watch(
    pipeline: DDPMLabPipeline,
    settings: SamplingSettings,
    is_stopped: Callable[[], bool] = lambda: False,
    every_seconds: float = PREVIEW_SECONDS,
) -> Iterator[Moment]:
    """A run's moments, computed in the network's thread: see `streamed`.

    The first step, then at most one moment every `every_seconds`, then the last one: "done", or "stopped" after the
    step in which is_stopped() became true.
    """
    return streamed(lambda stopped: moments(pipeline, settings, stopped, every_seconds), is_stopped)


def streamed(make: Callable[[Callable[[], bool]], Iterator], is_stopped: Callable[[], bool]) -> Iterator:
    """What make(is_stopped) yields, computed in the network's thread: who shows it does not hold the network up.

    Only the newest is passed on where several came since the last; the one whose `state` is not "running" is the last.
    Closing the generator ends the work within a step. Raises whatever it raises.
    """
    arrived: SimpleQueue = SimpleQueue()
    closed = threading.Event()

    def work():
        try:
            for moment in make(lambda: closed.is_set() or is_stopped()):
                arrived.put(moment)
        except Exception as error:
            arrived.put(error)
        else:  # who reads has gone by then, unless the work broke its promise
            arrived.put(RuntimeError("the work ended without a last moment"))

    running = _executor.submit(work)
    try:
        state = "running"
        while state == "running":
            moment = arrived.get()
            while not arrived.empty() and not isinstance(moment, Exception) and moment.state == "running":
                moment = arrived.get()
            if isinstance(moment, Exception):
                raise moment
            state = moment.state
            yield moment
    finally:
        closed.set()
        running.exception()  # waits for the step at hand
        give_back()


def moments(
    pipeline: DDPMLabPipeline, settings: SamplingSettings, is_stopped: Callable[[], bool], every_seconds: float
) -> Iterator[Moment]:
    """The moments of a run, in this thread; see `watch`."""
    steps = len(pipeline.plan(settings).run_pairs)
    start = time.monotonic()
    shown = float("-inf")
    film, in_film = [], frame_steps(steps)
    for number, step in enumerate(pipeline.steps(settings), 1):
        state = "done" if number == steps else "stopped" if is_stopped() else "running"
        now = time.monotonic()
        if number in in_film or state == "stopped":
            film.append(Frame.of(number, step))
        if state != "running" or now - shown >= every_seconds:
            shown = now
            whole = () if state == "running" else tuple(film)
            yield Moment(number, steps, now - start, *_pixels(step), state, whole)
        if state == "stopped":
            return


def _pixels(step: Step) -> tuple[np.ndarray, np.ndarray, bool]:
    x_t, x_0_hat = (visible(x) for x in (step.x_s, step.x_0_hat))
    return x_t, x_0_hat, bool(step.x_s.isfinite().all())
