"""Read files that somebody else made: regular ones only, up to a size, whatever their names lead to."""

import os
import stat
from pathlib import Path


class IrregularFile(OSError):
    """The path leads to no regular file, such as a device, a pipe or a folder."""


class LargeFile(OSError):
    """The file is larger than what may be read."""


def read_regular(path: Path, most: int) -> bytes:
    """Return the content of a regular file, or of a link to one, with at most `most` bytes.

    Raises IrregularFile, LargeFile or another OSError.
    """
    with open(path, "rb", opener=_open) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise LargeFile(f"{path.name}: larger than {most} bytes")
    return content


def regular_size(path: Path) -> int:
    """Return the bytes of a regular file, or of a link to one. Raises IrregularFile or another OSError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise IrregularFile(f"{path.name}: no regular file")
    return status.st_size


def _open(path: str, flags: int) -> int:
    regular_size(Path(path))  # before it is opened: opening a device can do something
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe that came since would wait for a writer
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IrregularFile(f"{path}: no regular file")
    return descriptor
