"""Progress of a job: one type for every kind of job, and the one loop that paces and stops them."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
State = Literal["running", "done", "stopped"]
PREVIEW_SECONDS = 0.25  # between two previews of a job


@dataclass(frozen=True, eq=False)
class WorkStep(Generic[T]):
    """A finished step of a job. done, total: in the job's own unit, e.g. network calls.

    make(is_last): returns the content to show; called only for steps that are shown. is_result: show this step at once,
    however recent the last one. seconds_left: None assumes that each unit takes as long as those before.
    """

    done: int
    total: int
    make: Callable[[bool], T]
    is_result: bool = False
    seconds_left: float | None = None


@dataclass(frozen=True, eq=False)
class Progress(Generic[T]):
    """The progress of a job, and the content to show. seconds: since its first step began."""

    state: State
    done: int
    total: int
    seconds: float
    seconds_left: float
    content: T


def paced(steps: Iterable[WorkStep[T]], is_stopped: Callable[[], bool], every_seconds: float) -> Iterator[Progress[T]]:
    """Yield the progress at the first step, then at most once every `every_seconds`, at every result and at the end.

    The last state is "done", or "stopped" after the step during which is_stopped() became true.
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
