"""Stops a process, or fills the disk, at each of its file operations below a folder; Python's audit events tell them.

A process forks for every case, so the training that it saves is prepared once. Files that are written outside of Python
(safetensors) are covered by the operations before and after.
"""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

EVENTS = {
    "open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "os.link", "os.symlink",
    "shutil.rmtree", "shutil.copyfile", "os.listdir", "os.scandir",
}  # fmt: skip
LOOKS = {"os.listdir", "os.scandir"}  # a kill can come there; a full disk does not stop them


class Injector:
    """Counts the operations on paths below a folder, and at number `at` does what it is told to."""

    def __init__(self, folder: Path):
        self.folder = os.fspath(folder)
        self.count, self.at, self.act, self.on = 0, 0, None, False
        sys.addaudithook(self._hook)  # for the life of the process: use it in a fork

    def _hook(self, event: str, arguments: tuple) -> None:
        if not self.on or event not in EVENTS or self.folder not in str(arguments[0]):
            return
        self.count += 1
        if self.act is not None and (self.count == self.at or (self.act == "fill" and self.count > self.at)):
            if self.act == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            writes = event != "open" or (len(arguments) > 2 and arguments[2] & (os.O_WRONLY | os.O_RDWR))
            if event not in LOOKS | {"os.remove", "os.rmdir", "shutil.rmtree", "os.rename"} and writes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))


def in_a_fork(work: Callable[[Injector], None], folder: Path, at: int = 0, act: str | None = None) -> tuple[str, int]:
    """Run work in a fork. Returns how it ended ("done", "killed", or the error), and how many operations it made.

    at: the operation, from 1, at which act, "kill" or "fill" (no room from there on), comes.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        ended = "done"
        injector = Injector(folder)
        injector.at, injector.act, injector.on = at, act, True
        try:
            work(injector)
        except BaseException as error:
            ended = f"{type(error).__name__}: {error}"
            if not isinstance(error, OSError):
                ended += traceback.format_exc()
        injector.on = False
        os.write(writing, f"{injector.count} {ended}".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed", at
    count, _, ended = told.partition(" ")
    return ended, int(count or 0)
