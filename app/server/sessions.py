"""What the server keeps of a visitor: little, of few, and of each his own."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class BySession(Generic[T]):
    """One thing a session; only those of the newest `size` are kept, so that nobody fills the memory. Thread-safe."""

    def __init__(self, size: int):
        self._size = size
        self._lock = threading.Lock()
        self._things: OrderedDict[str, T] = OrderedDict()

    def keep(self, session: str | None, thing: T) -> None:
        """Put this visitor's thing in the place of the one before."""
        with self._lock:
            self._things.pop(str(session), None)
            self._things[str(session)] = thing
            while len(self._things) > self._size:
                self._things.popitem(last=False)

    def of(self, session: str | None) -> T | None:
        """This visitor's thing; None where there is none any more."""
        return self._things.get(str(session))

    def own(self, session: str | None, make: Callable[[], T]) -> T:
        """This visitor's thing, made where there is none, and now the newest."""
        thing = self.of(session)
        thing = make() if thing is None else thing
        self.keep(session, thing)
        return thing

    def drop(self, session: str | None) -> None:
        """This visitor has left."""
        with self._lock:
            self._things.pop(str(session), None)
