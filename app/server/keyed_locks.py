"""A lock for each key, so that slow work on one thing holds up nobody who wants another."""

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class KeyedLocks:
    """Locks by key, each there only while somebody holds it or waits for it. Thread-safe."""

    def __init__(self):
        self._lock = threading.Lock()
        self._wanted: dict[Hashable, tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, key: Hashable) -> Iterator[None]:
        """Hold the lock of a key."""
        with self._lock:
            lock, count = self._wanted.get(key, (threading.Lock(), 0))
            self._wanted[key] = lock, count + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, count = self._wanted[key]
                if count == 1:
                    del self._wanted[key]
                else:
                    self._wanted[key] = lock, count - 1
