"""Values that the server keeps per session, for a limited number of sessions."""

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
