"""The texts of the chapters: one Markdown file per chapter and language, all with the same sections.

    # Title
    ## claim          the claim in one sentence
    ## text           formulas, explanations, and proofs in <details>
    ## see NAME       stands above the experiment NAME; its first line, a ### heading, is the experiment's title
    ## tutorial       quotations from the tutorial, and remarks on them
    ## words          "key: text" lines: labels of controls, axes, curves; {places} are filled

A formula colours a symbol with \\textcolor{PICTURE}{x_0}; the colour names are those of app/ui/charts.py, so a symbol
has the colour of its curve.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from app.texts.numbers import fill
from app.ui import charts as vega

MARKED = re.compile(r"\$([^$\n]+)\$([，。；：、？！）”」』]+)")  # a formula, and punctuation that must not begin a line
NAMES = tuple(sorted(path.name.removesuffix(".md") for path in (files("app.texts") / "maths" / "en").iterdir()))
COLORS = ("PICTURE", "NOISE", "NETWORK", "EXACT", "PLAIN")


@dataclass(frozen=True)
class ChapterWords:
    """One chapter in one language. sections: by heading; words: the short texts by key."""

    title: str
    sections: dict[str, str]
    words: dict[str, str]

    def say(self, key: str, **values) -> str:
        """Return a short text with its {places} filled."""
        return fill(self.words[key], values) if values else self.words[key]


def number_of(name: str) -> int:
    """Return the number at the beginning of a chapter's name."""
    return int(name.split("-")[0])


@cache
def chapter_words(name: str, language: str) -> ChapterWords:
    """Read the text of a chapter in a language."""
    text = (files("app.texts") / "maths" / language / f"{name}.md").read_text(encoding="utf-8")
    for color in COLORS:
        text = text.replace(f"\\textcolor{{{color}}}", f"\\textcolor{{{getattr(vega, color)}}}")
    title, *parts = text.split("\n## ")
    sections = {}
    for part in parts:
        heading, _, body = part.partition("\n")
        sections[heading.strip()] = body.strip()
    lines = [line for line in sections.pop("words", "").splitlines() if line.strip()]
    pairs = (line.partition(": ") for line in lines)
    sections = {heading: _kept_together(body) for heading, body in sections.items()}
    return ChapterWords(title.removeprefix("# ").strip(), sections, {key.strip(): value for key, _, value in pairs})


def _kept_together(text: str) -> str:
    """Move the punctuation after a formula into it: otherwise a browser can begin a line with it."""
    parts = text.split("$$")  # text and displayed formulas in turn; two adjacent inline formulas must not make a "$$"
    parts[::2] = [MARKED.sub(r"$\1{\\small\\text{\2}}$", part).replace("$$", "$\u200b$") for part in parts[::2]]
    return "$$".join(parts)
