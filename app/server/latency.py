"""Estimate how long a run takes on this machine: a + b n seconds per network call of n pictures, a and b measured."""

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

FEW, MANY = 1, 8  # pictures in the two calls of the first measurement
TRUST = 0.5  # weight of the newest run against all before it


class Latency:
    """The a and b of each checkpoint, by name. Thread-safe."""

    def __init__(self, clock=time.perf_counter):
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds: dict[str, tuple[float, float]] = {}
        self._engines: dict[str, str] = {}

    def expected_seconds(self, name: str, plan: Plan) -> float | None:
        """Return the seconds of a run on an idle machine; None before the checkpoint was measured."""
        return self.seconds_of(name, plan.calls, plan.evaluations)

    def seconds_of(self, name: str, calls: int, evaluations: int) -> float | None:
        """Return the seconds of `calls` network calls with `evaluations` pictures in all; None if unmeasured."""
        with self._lock:
            known = self._seconds.get(name)
        return None if known is None else calls * known[0] + evaluations * known[1]

    def measure(self, name: str, pipeline: DDPMLabPipeline) -> None:
        """Time two network calls, once per checkpoint and engine; wait for a turn on the network."""
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
        """Adjust the estimate after a complete run that took `seconds`."""
        expected = self.expected_seconds(name, plan)
        if not expected:
            return
        factor = 1 + TRUST * (seconds / expected - 1)
        with self._lock:
            self._seconds[name] = tuple(factor * value for value in self._seconds[name])


def _seconds_of_a_call(pipeline: DDPMLabPipeline, count: int, clock) -> float:
    """Return the time of the faster of two calls: the first one also wakes the threads."""
    x = torch.zeros(count, *pipeline.image_shape)
    label = 0 if pipeline.classes else None
    settings = SamplingSettings(num_inference_steps=1, num_images=count, class_label=label)  # of any schedule
    denoiser = pipeline.denoiser(pipeline.plan(settings))
    taken = []
    for _ in range(2):
        start = clock()
        denoiser.predict(x, 0)
        taken.append(clock() - start)
    return min(taken)
