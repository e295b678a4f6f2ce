"""How the C library keeps memory: in one arena, and not what a run has left behind.

glibc gives each thread an arena of its own and keeps in each what was freed: a page with some thirty threads, of which
one computes, ends up at 100 MB more than it uses. Does nothing where the C library is another one.
"""

import ctypes
import sys

ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def one_arena() -> None:
    """For the whole process. Threads that there are already keep theirs."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(ARENA_MAX, 1)


def give_back() -> None:
    """What was freed goes back to the system; it takes a millisecond."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
