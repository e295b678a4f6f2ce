"""Counts the files that are not used as pictures, by reason and kind, so that none is passed over in silence."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePath

from diffusion.errors import printable

FOLDER = "folder"  # the kind of a whole folder
NAMED = 5  # examples named for each reason
HARMLESS = {"hidden", "made by the system", "not a picture"}


@dataclass
class Tally:
    """Files left out. counts: reason -> kind -> number; examples: reason -> the first few names.

    missed: the paths, as parts, of those that may have been meant as pictures, and whether it is a folder.
    """

    counts: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    missed: list[tuple[tuple[str, ...], bool]] = field(default_factory=list)

    def add(self, reason: str, name: str, kind: str, detail: str = "") -> None:
        """Leave out one file. name: its path below the folder; kind: its suffix; detail: what Pillow said of it."""
        self.counts[reason][kind] += 1
        if reason not in HARMLESS:
            self.missed.append((PurePath(name).parts, kind == FOLDER))
        if len(self.examples[reason]) < NAMED:
            self.examples[reason].append(printable(f"{name} ({detail})" if detail else name))

    @property
    def total(self) -> int:
        """Number of files left out."""
        return sum(kinds.total() for kinds in self.counts.values())

    def lines(self, reasons: Iterable[str]) -> list[str]:
        """Return one line a reason: how many of each kind, and the first few by name."""
        return [self._line(reason) for reason in reasons if reason in self.counts]

    def notes(self) -> list[str]:
        """Return the lines of what nobody misses: hidden files, texts, what a system put there."""
        return self.lines(sorted(set(self.counts) & HARMLESS))

    def warnings(self) -> list[str]:
        """Return the lines of what may be missed, the largest number first."""
        return self.lines(sorted(set(self.counts) - HARMLESS, key=lambda reason: -self.counts[reason].total()))

    def _line(self, reason: str) -> str:
        kinds, named = self.counts[reason], self.examples[reason]
        counted = ", ".join(f"{count} {printable(kind)}" for kind, count in kinds.most_common())
        more = "; ..." if kinds.total() > len(named) else ""
        return f"{reason}: {counted}: {'; '.join(named)}{more}"
