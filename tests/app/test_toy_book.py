"""A new language and a new chapter, added to a copy of the program, appear in the page.

toy_book.py runs inside that copy and makes the checks.
"""

import json
import shutil

import pytest

from app.texts import LANGUAGES
from tests.program_copy import copy_program, run_checks, write_above

MATHEMATICS = '''"""Chapter 12, a toy: one number."""


def twice(x: float) -> float:
    """Return 2 x."""
    return 2 * x
'''
CHAPTER = '''"""Chapter 12, a toy: one experiment."""

from app.maths.chapter import Chapter, Control, Experiment
from diffusion.derivation.c12_toy import twice


def doubled(scene, values, say):
    """Show twice the control's value."""
    return (say("result", value=f"{twice(values['x']):g}"),)


CHAPTER = Chapter("12-toy", (Experiment("doubled", ("text",), doubled, (Control("x", 3.0, 0, 10, 0.5),)),))
'''
TEXT = """# A toy

## claim
Twice is twice.

## text
Twice $x$ is $2x$.

## see doubled
### Doubled

## tutorial
Nothing.

## words
x: a number
result: It is {value}.
"""


@pytest.mark.slow  # starts the whole program anew, in the copy
def test_a_language_and_a_chapter_are_their_texts_and_one_line_each(tmp_path):
    copy = copy_program(tmp_path)

    # The chapter: two files, its text in each language, a line in book.py and its import
    (copy / "app" / "maths" / "c12_toy.py").write_text(CHAPTER, encoding="utf-8")
    (copy / "diffusion" / "derivation" / "c12_toy.py").write_text(MATHEMATICS, encoding="utf-8")
    for language in LANGUAGES:
        (copy / "app" / "texts" / "maths" / language / "12-toy.md").write_text(TEXT, encoding="utf-8")
    book = copy / "app" / "maths" / "book.py"
    write_above(book, "from app.maths.chapter import Chapter", "from app.maths import c12_toy\n")
    write_above(book, "BY_NAME =", "CHAPTERS += (c12_toy.CHAPTER,)\n")

    # The language: its entry, and its texts
    texts = copy / "app" / "texts"
    write_above(texts / "__init__.py", 'DEFAULT = "en"', 'LANGUAGES["fr"] = "Français"\n')
    words = json.loads((texts / "en.json").read_text(encoding="utf-8"))
    words["page"] |= {"tag": "fr-FR", "title": "Laboratoire DDPM"}
    words["controls"]["seed"]["label"] = "Graine"
    (texts / "fr.json").write_text(json.dumps(words), encoding="utf-8")
    shutil.copytree(texts / "maths" / "en", texts / "maths" / "fr")

    run_checks(copy, "tests/app/toy_book.py")
