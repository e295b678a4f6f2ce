"""The network's thread, which runs one job at a time and streams its progress; and a thread for quick computations."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from app.server.malloc import give_back
from app.texts.messages import Refusal
from app.ui.progress import Progress, WorkStep, paced

T = TypeVar("T")

NETWORK = "network"  # the concurrency_id of everything that runs the network: one job at a time
CPU_PLACES, CPU_SECONDS = 12, 20

# One thread for all jobs: OpenMP keeps a pool of threads for each thread that calls it
_network_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=NETWORK)
# Another for computations that answer at once, so that moving many sliders at a time is no load: it waits for no job,
# and no job waits for it
_cpu_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cpu")
_cpu_places = threading.BoundedSemaphore(CPU_PLACES)


def in_cpu_thread(work: Callable[[], T]) -> T:
    """Return `work()`, computed after the calls before it.

    Raises Refusal if CPU_PLACES of them are still pending after CPU_SECONDS.
    """
    if not _cpu_places.acquire(timeout=CPU_SECONDS):
        raise Refusal("busy")
    try:
        return _cpu_executor.submit(work).result()
    finally:
        _cpu_places.release()


def in_network_thread(work: Callable[[], T]) -> T:
    """Return `work()`, computed when the network is free."""
    return _network_executor.submit(work).result()


def stream(
    steps: Callable[[], Iterator[WorkStep[T]]], is_stopped: Callable[[], bool], every_seconds: float
) -> Iterator[Progress[T]]:
    """Compute a job in the network's thread and yield its progress: showing it does not delay the network.

    See `paced` for the steps that are shown; of several that arrive before the caller asks, only the newest is yielded.
    Closing the generator ends the work within a step. Raises the exceptions of the work.
    """
    arrived: SimpleQueue = SimpleQueue()
    closed = threading.Event()

    def work():
        try:
            for progress in paced(steps(), lambda: closed.is_set() or is_stopped(), every_seconds):
                arrived.put(progress)
        except Exception as error:
            arrived.put(error)
        else:  # the caller has stopped reading by then, unless the steps ended before their total
            arrived.put(RuntimeError("the work ended before its last step"))

    running = _network_executor.submit(work)
    try:
        state = "running"
        while state == "running":
            progress = arrived.get()
            while not arrived.empty() and not isinstance(progress, Exception) and progress.state == "running":
                progress = arrived.get()
            if isinstance(progress, Exception):
                raise progress
            state = progress.state
            yield progress
    finally:
        closed.set()
        running.exception()  # waits for the current step
        give_back()
