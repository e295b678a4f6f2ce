"""A grid as files: one labelled picture, and a table of its numbers. Pure functions.

Axes are named as in diffusion/settings.py: these names are the same in every language, and Pillow's built-in font,
which has neither Chinese nor Greek letters, can draw them.
"""

from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont

from app.explore.grids import Grid, padded
from app.explore.run import Found
from app.ui.csv_files import csv_address
from app.ui.images import enlarged, full_columns, sheet, visible
from diffusion.experiments.axes import Axis
from diffusion.settings import SETTINGS
from diffusion.sharing.recipe import pixels_sha256

CELL_SIDE, LEAST_WIDTH, GAP = 168, 96, 12
PAPER, INK, GREY = (250, 249, 247), (26, 26, 26), (110, 108, 104)
LARGE, SMALL = 15, 12  # font sizes


def grid_csv(grid: Grid, found: Mapping[object, Found]) -> str:
    """Return the grid as a CSV data address, one row per cell; a cell that has not run has no seconds and no pixels."""
    rows = []
    for cell, job in zip(grid.cells, grid.jobs, strict=True):
        one = found.get(job.key)
        made = (None, None) if one is None else (one.seconds, pixels_sha256(visible(one.result)))
        values = ["none" if v is None else v for v in cell.values(grid.axes)]
        rows.append((*values, job.calls, job.evaluations, *made))
    fields = [axis.field for axis in grid.axes]
    return csv_address([*fields, "network_calls", "evaluations", "seconds", "pixels_sha256"], rows)


def labelled(grid: Grid, found: Mapping[object, Found]) -> Image.Image:
    """Draw the whole grid as one picture, with a label for every row and column and the cost of every finished cell."""
    columns, rows, sheets = padded(grid.axes)
    large, small = ImageFont.load_default(LARGE), ImageFont.load_default(SMALL)
    pictures = {job.key: _picture(found[job.key]) for job in grid.jobs if job.key in found}
    labels = [int(large.getlength(_text(columns, value))) for value in columns.values]
    width = max(LEAST_WIDTH, *labels, *(image.width for image in pictures.values())) + GAP
    height = max((image.height for image in pictures.values()), default=0) + SMALL + 2 * GAP
    left = 2 * GAP + max(int(large.getlength(_text(rows, value))) for value in rows.values)
    title, head = (LARGE + GAP) * bool(sheets.field), SMALL + LARGE + 2 * GAP
    block = title + head + height * len(rows.values)
    foot = _foot(grid)
    canvas = Image.new(
        "RGB",
        (max(left + width * len(columns.values), GAP + int(small.getlength(foot))) + GAP,
         GAP + block * len(sheets.values) + SMALL + GAP),
        PAPER,
    )  # fmt: skip
    draw = ImageDraw.Draw(canvas)
    for z, value in enumerate(sheets.values):
        top = GAP + block * z
        if sheets.field:
            draw.text((GAP, top), f"{sheets.field} = {_text(sheets, value)}", INK, large)
        across = f"{columns.field} across" + (f", {rows.field} down" if rows.field else "")
        draw.text((GAP, top + title), across, GREY, small)
        for x, of_column in enumerate(columns.values):
            draw.text((left + width * x, top + title + SMALL + GAP), _text(columns, of_column), INK, large)
        for y, of_row in enumerate(rows.values):
            draw.text((GAP, top + title + head + height * y), _text(rows, of_row), INK, large)
    for cell, job in zip(grid.cells, grid.jobs, strict=True):
        x, y, z = (*cell.place, 0, 0)[:3]
        corner = left + width * x, GAP + block * z + title + head + height * y
        if image := pictures.get(job.key):
            canvas.paste(image, corner, image.getchannel("A"))
            facts = f"{job.calls} calls, {seconds_text(found[job.key].seconds)} s"
            draw.text((corner[0], corner[1] + image.height + 4), facts, GREY, small)
    draw.text((GAP, canvas.height - SMALL - GAP), foot, GREY, small)
    return canvas


def seconds_text(seconds: float) -> str:
    """Format seconds: two decimals below 1, one decimal from 1 on."""
    return f"{seconds:.2f}" if seconds < 1 else f"{seconds:.1f}"


def _picture(found: Found) -> Image.Image:
    images = visible(found.result)
    return enlarged(sheet(images, full_columns(len(images))), CELL_SIDE).convert("RGBA")


def _text(axis: Axis, value) -> str:
    if not axis.field:
        return ""
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def _foot(grid: Grid) -> str:
    """Return the line below the grid: the settings that all cells share."""
    on_axes = {axis.field for axis in grid.axes}
    named = [name for name, setting in SETTINGS.items() if setting.control and setting.control.in_foot]
    shared = [(name, getattr(grid.base, name)) for name in named if name not in on_axes]
    return "DDPM Lab: " + ", ".join(f"{name} {value}" for name, value in shared if value is not None)
