"""How long a run will take on this machine: a + b n seconds a network call of n pictures, learnt from the machine."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from app.server.network import in_network_thread
from app.ui.lazy_import import lazy_import
from diffusion.settings import SamplingSettings

if TYPE_CHECKING:
    from diffusion.pipeline import DDPMLabPipeline
    from diffusion.plan import Plan

torch = lazy_import("torch")

FEW, MANY = 1, 8  # pictures of the two calls that are timed at first
TRUST = 0.5  # in the newest run, against all before


class Latency:
    """For each checkpoint by name, a and b. Safe from several threads."""

    def __init__(self, clock=time.perf_counter):
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds: dict[str, tuple[float, float]] = {}
        self._engines: dict[str, str] = {}

    def expected_seconds(self, name: str, plan: Plan) -> float | None:
        """Of this run on an idle machine; None while nothing was measured."""
        return self.seconds_of(name, plan.calls, plan.evaluations)

    def seconds_of(self, name: str, calls: int, evaluations: int) -> float | None:
        """Of so many network calls with so many pictures in all."""
        with self._lock:
            known = self._seconds.get(name)
        return None if known is None else calls * known[0] + evaluations * known[1]

    def measure(self, name: str, pipeline: DDPMLabPipeline) -> None:
        """Time two network calls, once a checkpoint and engine; waits for its turn on the network."""
        if self._engines.get(name) == pipeline.engine.name:
            return
        few, many = in_network_thread(
            lambda: [_seconds_of_a_call(pipeline, count, self._clock) for count in (FEW, MANY)]
        )
        slope = max(0.0, (many - few) / (MANY - FEW))
        with self._lock:
            self._seconds[name] = (max(0.0, few - slope * FEW), slope)
            self._engines[name] = pipeline.engine.name

    def learn(self, name: str, plan: Plan, seconds: float) -> None:
        """A run of all its steps took so long."""
        expected = self.expected_seconds(name, plan)
        if not expected:
            return
        factor = 1 + TRUST * (seconds / expected - 1)
        with self._lock:
            self._seconds[name] = tuple(factor * value for value in self._seconds[name])


def _seconds_of_a_call(pipeline: DDPMLabPipeline, count: int, clock) -> float:
    """The faster of two; the first one also wakes the threads."""
    x = torch.zeros(count, *pipeline.image_shape)
    label = 0 if pipeline.classes else None
    denoiser = pipeline.denoiser(pipeline.plan(SamplingSettings(num_images=count, class_label=label)))
    taken = []
    for _ in range(2):
        start = clock()
        denoiser.predict(x, 0)
        taken.append(clock() - start)
    return min(taken)
