"""Pictures with captions, as HTML, and tables, as Markdown, for the experiments. Pure functions."""

from collections.abc import Sequence
from html import escape

from torch import Tensor

from app.ui.images import data_uri, enlarged, picture, png, visible

SIDE = 256  # of a picture on the page, at most, in pixels


def address(x: Tensor, side: int = SIDE) -> str:
    """Return a picture (C, H, W) in [-1, 1] as a PNG data address, enlarged with squares for pixels."""
    return data_uri(png(enlarged(picture(visible(x.unsqueeze(0))[0]), side)))


def figures(shown: Sequence[tuple[Tensor, str]]) -> str:
    """Place pictures (C, H, W) in [-1, 1] side by side; each caption is also the alternative text."""
    cells = (
        f'<figure><img src="{address(x)}" alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
        for x, caption in shown
    )
    return f'<div class="figures" style="--count:{len(shown)}">{"".join(cells)}</div>'


def rows_of_figures(rows: Sequence[tuple[str, Sequence[Tensor]]], heads: Sequence[str], side: int = SIDE) -> str:
    """Place pictures (C, H, W) in [-1, 1] in labelled rows below column heads, each at most `side` pixels wide."""
    cells = ["<span></span>", *(f'<span class="head">{escape(head)}</span>' for head in heads)]
    for label, xs in rows:
        cells.append(f'<span class="row">{escape(label)}</span>')
        cells += (
            f'<img src="{address(x, side)}" alt="{escape(f"{label}, {head}")}">'
            for x, head in zip(xs, heads, strict=False)
        )
        cells += ["<span></span>"] * (len(heads) - len(xs))
    return f'<div class="strip-rows"><div class="rows" style="--columns:{len(heads)}">{"".join(cells)}</div></div>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; cells can hold formulas."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def power_of_ten(value: float) -> str:
    """Format a number in LaTeX with two digits and a power of ten."""
    digits, _, power = f"{value:.1e}".partition("e")
    return rf"{digits}\times10^{{{int(power)}}}"
