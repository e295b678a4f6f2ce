"""The table in the READMEs is the one that its command prints."""

from contextlib import redirect_stdout
from io import StringIO

import pytest

from tests.app.running import REPOSITORY
from training.summary import COLUMNS, main

TRANSLATED = 3  # the first columns have words in them


@pytest.fixture(scope="module")
def printed() -> str:
    """What the command prints for the checkpoints that are shipped."""
    with redirect_stdout(StringIO()) as output:
        main(REPOSITORY / "checkpoints")
    return output.getvalue().strip()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_row_has_every_column(printed):
    rows = [cells(line) for line in printed.splitlines()]
    assert rows[0] == COLUMNS and {len(row) for row in rows} == {len(COLUMNS)}
    assert [row[0] for row in rows[2:]] == ["fashion-mnist", "mnist", "pixel-faces"]


def test_the_readme_has_this_table(printed):
    assert printed in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_chinese_readme_has_its_figures(printed):
    lines = (REPOSITORY / "README.zh-CN.md").read_text(encoding="utf-8").splitlines()
    for row in map(cells, printed.splitlines()[2:]):
        own = next(cells(line) for line in lines if line.startswith(f"| {row[0]} |"))
        assert own[TRANSLATED:] == row[TRANSLATED:]
