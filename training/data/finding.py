"""Finds the files below a folder: follows each link once, opens only regular files, and counts the rest by reason."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from training.data.pictures import DataError
from training.data.tally import FOLDER, Tally

SYSTEM_FOLDERS = {
    "@eadir", "__macosx", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found",
    "__pycache__", "node_modules",
}  # fmt: skip
SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "iptc.dat"}
MAX_FILE_BYTES = 1 << 30


def find_files(folder: Path, tally: Tally) -> list[Path]:
    """Return the regular files below a folder that may be pictures, sorted; the tally gets all others.

    A link is followed once, and not where it leads to what is found anyway or to a folder that holds the link. Raises
    DataError if the folder itself cannot be read.
    """
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise DataError(f"data: {folder} cannot be read ({error.strerror or error})") from error
    return sorted(_Walk(folder, tally).files())


def kind_of(path: Path) -> str:
    """Return the suffix of a file in small letters, as the kind it is counted under."""
    return path.suffix.lower() or "without a suffix"


class _Walk:
    def __init__(self, folder: Path, tally: Tally):
        self.folder, self.tally = folder, tally
        self.links: list[Path] = []
        self.seen: set[tuple[int, int]] = set()

    def files(self) -> Iterator[Path]:
        yield from self._below(self.folder)
        there, followed = frozenset(self.seen), set()  # what is really below the folder; links, by their own identity
        while self.links:  # a followed folder can hold links of its own
            link = self.links.pop(0)
            try:
                status, own = os.stat(link), _identity(os.lstat(link))
                around = {_identity(os.stat(parent)) for parent in link.parent.resolve().joinpath("x").parents}
            except OSError:
                self._leave_out("a link that leads nowhere", link)
                continue
            if _identity(status) in there | around or own in followed:
                self._leave_out("a link to files already counted", link)
            elif stat.S_ISDIR(status.st_mode):
                followed.add(own)
                yield from self._below(link)
            else:
                yield from self._file(link, status)

    def _below(self, top: Path) -> Iterator[Path]:
        waiting: list[tuple[Path, str | None]] = [(top, None)]  # with a reason, the files are only counted
        while waiting:
            folder, reason = waiting.pop()
            try:
                if reason is None:
                    self.seen.add(_identity(os.stat(folder)))
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                name = str(folder.relative_to(self.folder))
                self.tally.add("a folder that cannot be read", name, FOLDER, error.strerror or "")
                continue
            for entry in entries:
                path, why = folder / entry.name, reason or _reason(entry.name)
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:  # a folder that may be listed and not searched, or a file that has just gone
                    self._leave_out(why or "cannot be read", path)
                    continue
                if stat.S_ISLNK(status.st_mode):
                    self.links += [] if why else [path]
                elif stat.S_ISDIR(status.st_mode):
                    waiting.append((path, why or _folder_reason(entry.name)))
                    continue
                elif not why:
                    yield from self._file(path, status)
                if why:
                    self._leave_out(why, path)

    def _file(self, path: Path, status: os.stat_result) -> Iterator[Path]:
        self.seen.add(_identity(status))
        if not stat.S_ISREG(status.st_mode):
            self._leave_out("neither a file nor a folder", path)
        elif status.st_size > MAX_FILE_BYTES:
            self._leave_out(f"larger than {MAX_FILE_BYTES >> 20:,} MB", path)
        else:
            yield path

    def _leave_out(self, reason: str, path: Path) -> None:
        self.tally.add(reason, str(path.relative_to(self.folder)), kind_of(path))


def _reason(name: str) -> str | None:
    if name.lower() in SYSTEM_FILES:
        return "made by the system"
    return "hidden" if name.startswith(".") else None


def _folder_reason(name: str) -> str | None:
    return "made by the system" if name.lower() in SYSTEM_FOLDERS else None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
