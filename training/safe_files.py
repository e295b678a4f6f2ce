"""Write files and folders so that a kill, a full disk or a flipped bit never passes for the real thing."""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

CHECKSUMS = "checksums.json"
RENAME_EXCHANGE, HERE = 2, -100  # of Linux's renameat2
NO_SYNC = {errno.EINVAL, errno.ENOTSUP}  # of a folder, on some network disks
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FULL_WORDS = ("No space left on device", "os error 28", "Disk quota exceeded", "os error 122")
TORCH_WORDS, LITTLE = "PytorchStreamWriter", 1 << 20  # torch does not say why it could not write


class DiskFull(OSError):
    """A disk has no room for what was to be written; the text says where, and how much is needed."""


def write_json(path: Path, content: dict) -> None:
    """Write indented JSON, completely or not at all."""
    partial = path.with_name("." + path.name)
    try:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        sync(partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_checksums(folder: Path) -> None:
    """Write the SHA-256 of every file of a folder into it."""
    write_json(folder / CHECKSUMS, {name: _sha256(folder / name) for name in _names(folder)})


def damaged_files(folder: Path) -> list[str]:
    """Return the files of a folder that are missing, cut or changed since its checksums were written.

    A folder without checksums, as earlier versions wrote it, counts as whole.
    """
    sums = folder / CHECKSUMS
    if not sums.exists():
        return []
    try:
        known = json.loads(sums.read_text(encoding="utf-8"))
        wrong = [name for name, value in known.items() if _sha256_or_none(folder / name) != value]
    except (OSError, ValueError, AttributeError, TypeError):
        return [CHECKSUMS]
    return wrong  # what another program has put beside them (.DS_Store, .nfs) does no harm


def sync_tree(folder: Path) -> None:
    """Flush a folder, with all that it holds, to the disk."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if not path.is_dir() or error.errno not in NO_SYNC:
            raise
    finally:
        os.close(handle)


def remove_folder(folder: Path) -> None:
    """Rename a folder to a hidden name, then delete it: a kill never leaves half of it under its own name."""
    folder = folder.resolve()  # of a link, what it leads to
    rest = _hidden(folder, "old")
    shutil.rmtree(rest, ignore_errors=True)
    if folder.exists():
        folder.rename(rest)
        shutil.rmtree(rest)


def partial_of(target: Path) -> Path:
    """Return the hidden folder in which a target is made: pass it to put_in_place when it is complete.

    Beside what a link leads to, if the target is one.
    """
    return _hidden(target.resolve(), "partial")


def put_in_place(target: Path) -> None:
    """Put the complete partial folder of a target in its place, and delete what was there.

    Where the system can exchange two folders, there is no moment without a whole one at the target; elsewhere `recover`
    finds it.
    """
    target = target.resolve()
    new, old = _hidden(target, "new"), _hidden(target, "old")
    sync_tree(partial_of(target))
    shutil.rmtree(new, ignore_errors=True)
    partial_of(target).rename(new)  # from here on it is whole
    sync(target.parent)
    if not target.exists():
        new.rename(target)
    elif not exchange(new, target):
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        new.rename(target)
    sync(target.parent)
    for rest in (new, old):
        shutil.rmtree(rest, ignore_errors=True)


def recover(target: Path) -> bool:
    """Clear what a killed put_in_place has left beside a target, and restore the target if it is missing.

    Returns whether it was restored.
    """
    target, restored = target.resolve(), False
    if not target.exists():
        whole = next((rest for rest in (_hidden(target, "new"), _hidden(target, "old")) if rest.is_dir()), None)
        if whole is not None:
            whole.rename(target)
            sync(target.parent)
            restored = True
    for kind in ("partial", "new", "old"):
        shutil.rmtree(_hidden(target, kind), ignore_errors=True)
    return restored


def exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step. Returns whether the system could."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or an old C library
        return False
    return rename(HERE, os.fsencode(one), HERE, os.fsencode(other), RENAME_EXCHANGE) == 0


@contextlib.contextmanager
def making(partial: Path | None, place: Path, what: str, needed_bytes: int) -> Iterator[None]:
    """Delete a half-made folder if making it fails, and say in one sentence if the disk is full. Raises DiskFull."""
    try:
        yield
    except BaseException as error:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        if _is_full(error) or (TORCH_WORDS in str(error) and _free(place) < max(LITTLE, needed_bytes)):
            raise DiskFull(
                f"{place}: the disk is full: {what} needs about {max(1, needed_bytes >> 20)} MB and "
                f"{_free(place) >> 20} MB are free. What was saved before is whole: make room and go on with --resume"
            ) from error
        raise


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if any(word in str(error) for word in FULL_WORDS):  # safetensors and torch raise kinds of their own
            return True
        error = error.__cause__ or error.__context__
    return False


def _free(place: Path) -> int:
    there = next(parent for parent in (place, *place.resolve().parents) if parent.exists())
    return shutil.disk_usage(there).free


def _hidden(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{kind}")


def _names(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    return sorted(path.relative_to(folder).as_posix() for path in files)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_or_none(path: Path) -> str | None:
    return _sha256(path) if path.is_file() else None
