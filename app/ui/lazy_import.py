"""Modules that need torch, imported when first used: the page is up before them.

Importing torch, diffusers and what is built on them takes longer than everything that lays the page out. So what lays
it out names them by `lazy_import`; `import_all`, called when the page is up, imports them before anybody needs them.
"""

import threading
from importlib import import_module
from types import ModuleType

# One thread imports, the others wait for it: two of them inside one circle of modules may see a module half made
_importing = threading.RLock()
_all: dict[str, "LazyModule"] = {}


class LazyModule:
    """Stands for a module: `lazy_import("diffusion.plan").plan_run` imports it, once. Safe from several threads."""

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
    """The module of this dotted name, to be imported when something of it is first used."""
    return _all.setdefault(name, LazyModule(name))


def import_all() -> threading.Thread:
    """Import in the background whatever `lazy_import` was asked for; returns the thread that does."""
    thread = threading.Thread(target=_import_all, name="imports", daemon=True)
    thread.start()
    return thread


def _import_all() -> None:
    with _importing:
        for module in list(_all.values()):
            module._import()
