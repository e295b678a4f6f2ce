"""Freed memory is returned if the C library can do so, and nothing breaks if it cannot."""

import ctypes
import importlib
import sys

import pytest

from app.server import malloc as memory


@pytest.mark.parametrize("platform", [sys.platform, "win32", "darwin"])
def test_it_can_be_asked_for_anywhere(platform, monkeypatch):
    def library(name):
        raise TypeError("argument of type 'NoneType' is not iterable")  # as on Windows

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sys, "platform", platform)
        if platform != sys.platform:
            elsewhere.setattr(ctypes, "CDLL", library)
        importlib.reload(memory)
        memory.one_arena()
        memory.give_back()
    importlib.reload(memory)
