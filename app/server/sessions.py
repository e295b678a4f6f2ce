"""Values that the server keeps per session or visitor, in limited number and size."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class BySession(Generic[T]):
    """One value per session; only those of the newest `size` sessions are kept, which bounds memory. Thread-safe."""

    def __init__(self, size: int):
        self._size = size
        self._lock = threading.Lock()
        self._things: OrderedDict[str, T] = OrderedDict()

    def keep(self, session: str | None, thing: T) -> None:
        """Store the session's value in place of its previous one, as the newest."""
        with self._lock:
            self._things.pop(str(session), None)
            self._things[str(session)] = thing
            while len(self._things) > self._size:
                self._things.popitem(last=False)

    def of(self, session: str | None) -> T | None:
        """Return the session's value; None if there is none, or none any more."""
        return self._things.get(str(session))

    def own(self, session: str | None, make: Callable[[], T]) -> T:
        """Return the session's value, made if there is none, and mark it as the newest."""
        thing = self.of(session)
        thing = make() if thing is None else thing
        self.keep(session, thing)
        return thing

    def drop(self, session: str | None) -> None:
        """Remove the value of a session that has ended."""
        with self._lock:
            self._things.pop(str(session), None)


class Shelf(Generic[T]):
    """Values by visitor and key; the oldest are dropped when all together take over `most_bytes`. Thread-safe.

    Only the newest value may be larger than that.
    """

    def __init__(self, most_bytes: int):
        self._most, self._taken = most_bytes, 0
        self._lock = threading.Lock()
        self._things: OrderedDict[tuple[str, str], tuple[T, int]] = OrderedDict()

    def keep(self, visitor: str, key: str, thing: T, size: int) -> None:
        """Store a value in place of the one with its key, as the newest. size: its bytes."""
        with self._lock:
            self._taken += size - self._things.pop((visitor, key), (thing, 0))[1]
            self._things[visitor, key] = thing, size
            while self._taken > self._most and len(self._things) > 1:
                self._taken -= self._things.popitem(last=False)[1][1]

    def of(self, visitor: str, key: str) -> T | None:
        """Return the visitor's value with a key; None if there is none, or none any more."""
        with self._lock:
            return self._things.get((visitor, key), (None, 0))[0]

    def newest(self, visitor: str) -> T | None:
        """Return the visitor's newest value; None if there is none, or none any more."""
        with self._lock:
            return next((self._things[key][0] for key in reversed(self._things) if key[0] == visitor), None)


class Drawn(Generic[T]):
    """What is drawn for each session in one language at a time, such as plots: drawn again when that changes."""

    def __init__(self, size: int = 200):
        self._made: BySession[tuple[str, Callable[[str], dict[T, object]]]] = BySession(size)

    def draw(self, session: str | None, language: str, make: Callable[[str], dict[T, object]]) -> dict[T, object]:
        """Return `make(language)`, and remember it."""
        self._made.keep(session, (language, make))
        return make(language)

    def again(self, session: str | None, language: str) -> dict[T, object]:
        """Return what the session has, in this language; {} if it has nothing, or has it in this language already."""
        drawn, make = self._made.of(session) or (language, None)
        return {} if make is None or drawn == language else self.draw(session, language, make)

    def drop(self, session: str | None) -> None:
        """Forget what a session had."""
        self._made.drop(session)
