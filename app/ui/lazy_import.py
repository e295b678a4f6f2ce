"""Import modules that need torch on first use, so that the page is up before them.

Importing torch, diffusers and the modules built on them takes longer than laying out the whole page. The layout code
therefore names them by `lazy_import`; `import_all`, called when the page is up, imports them before a visitor needs
them.
"""

import threading
from importlib import import_module
from types import ModuleType

# One thread imports and the others wait: two threads inside one import cycle could see a partly initialised module
_importing = threading.RLock()
_all: dict[str, "LazyModule"] = {}


class LazyModule:
    """A stand-in for a module: `lazy_import("diffusion.plan").plan_run` imports it, once. Thread-safe."""

    def __init__(self, name: str):
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str):
        return getattr(self._module or self._import(), attribute)

    def _import(self) -> ModuleType:
        with _importing:
            self._module = import_module(self._name)
        return self._module


def lazy_import(name: str) -> LazyModule:
    """Return a stand-in for the module of this dotted name, which is imported when an attribute is first used."""
    return _all.setdefault(name, LazyModule(name))


def import_all() -> threading.Thread:
    """Start a thread that imports every module named by `lazy_import` so far, and return it."""
    thread = threading.Thread(target=_import_all, name="imports", daemon=True)
    thread.start()
    return thread


def _import_all() -> None:
    with _importing:
        for module in list(_all.values()):
            module._import()
