"""How far a job is: one type for every kind of job, and the one loop that paces and stops them."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
State = Literal["running", "done", "stopped"]
PREVIEW_SECONDS = 0.25  # between two looks at a job


@dataclass(frozen=True, eq=False)
class WorkStep(Generic[T]):
    """A step of a job is done. done, total: in the job's own unit, e.g. network calls.

    make(is_last) -> what there is to show by now; called only where it is shown. is_result: show it at once, however
    short the time since the last. seconds_left: by default, as if each unit took as long as those before.
    """

    done: int
    total: int
    make: Callable[[bool], T]
    is_result: bool = False
    seconds_left: float | None = None


@dataclass(frozen=True, eq=False)
class Progress(Generic[T]):
    """How far a job is, and what there is to show. seconds: since its first step began."""

    state: State
    done: int
    total: int
    seconds: float
    seconds_left: float
    content: T


def paced(steps: Iterable[WorkStep[T]], is_stopped: Callable[[], bool], every_seconds: float) -> Iterator[Progress[T]]:
    """The first step, then at most one every `every_seconds`, every result, and the last one.

    The last is "done", or "stopped" after the step in which is_stopped() became true.
    """
    start, shown = time.monotonic(), float("-inf")
    for step in steps:
        state: State = "done" if step.done >= step.total else "stopped" if is_stopped() else "running"
        now = time.monotonic()
        if state != "running" or step.is_result or now - shown >= every_seconds:
            shown, seconds = now, now - start
            left = step.seconds_left
            if left is None:
                left = seconds / step.done * (step.total - step.done) if step.done else 0.0
            yield Progress(state, step.done, step.total, seconds, left, step.make(state != "running"))
        if state != "running":
            return
