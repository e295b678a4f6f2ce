"""Make glibc keep less memory: one arena for all threads, and freed memory returned to the system after a run.

By default glibc gives each thread an arena of its own and keeps freed memory in it: a page with some thirty threads, of
which one computes, holds 100 MB more than it uses. Does nothing with another C library.
"""

import ctypes
import sys

ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def one_arena() -> None:
    """Use one arena for the whole process. Threads that exist already keep theirs."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(ARENA_MAX, 1)


def give_back() -> None:
    """Return freed memory to the system; takes a millisecond."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
