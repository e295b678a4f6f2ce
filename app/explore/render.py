"""Render what the Explore tab shows and saves, from numbers to HTML and files. Pure functions."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from app.controls.codecs import CODECS
from app.controls.sentences import duration
from app.controls.spec import field_words
from app.explore.files import grid_csv, labelled, seconds_text
from app.explore.frontier_plot import frontier_csv, said_value, sampler_name
from app.explore.grids import Frontier, Grid, padded
from app.server.checkpoint_facts import Checkpoint
from app.texts import in_each, say, say_in_each
from app.ui.html import Words, said, words
from app.ui.images import FASTEST, data_uri, full_columns, png, sheet, visible
from diffusion.experiments.axes import Axis
from diffusion.experiments.frontier import Point
from diffusion.experiments.grid import Job
from diffusion.sharing.recipe import to_query

Current = tuple[Job, int, np.ndarray]  # see app.explore.run.Results


# What will run -------------------------------------------------------------------------------------------------------


def plan_sentence(grid: Grid, to_run: Sequence[Job], seconds: float | None, language: str) -> str:
    """Say what a grid will do before it runs. to_run: its jobs whose results are not known yet."""
    keys = {job.key for job in to_run}
    known = sum(job.key not in keys for job in grid.jobs)
    if known == len(grid.jobs):
        return say(language, "explore.all_known", cells=known)
    lines = [say(language, "explore.plan", cells=len(grid.jobs), **_cost(to_run))]
    if known:
        lines.append(say(language, "explore.known", count=known))
    if seconds is not None:
        lines.append(say(language, "plan.expected", seconds=duration(seconds, language)))
    sentence = " ".join(lines)
    if any(axis.field == "num_inference_steps" for axis in grid.axes):
        sentence += "\n" + say(language, "explore.many_runs")
    return sentence


def frontier_sentence(frontier: Frontier, to_run: Sequence[Job], seconds: float | None, language: str) -> str:
    """Say what measuring a frontier will do. to_run: as in plan_sentence."""
    points = len(frontier.measurements)
    lines = [say(language, "frontier.plan" if to_run else "frontier.all_known", points=points, **_cost(to_run))]
    if seconds is not None and to_run:
        lines.append(say(language, "plan.expected", seconds=duration(seconds, language)))
    if not frontier.has_space:
        lines.append(say(language, "frontier.no_space"))
    return " ".join(lines)


def _cost(jobs: Sequence[Job]) -> dict[str, str]:
    return {
        "calls": sum(job.calls for job in jobs),
        "evaluations": sum(job.evaluations for job in jobs),
    }


# The grid ------------------------------------------------------------------------------------------------------------


def value_words(axis: Axis, value, checkpoint: Checkpoint, language: str) -> str:
    """Format a value for the head of its row or column. checkpoint: supplies the names of the classes."""
    return CODECS[axis.field].value_words(value, checkpoint, language)


def grid_html(grid: Grid, found: Mapping, checkpoint: Checkpoint, current: Current | None = None) -> str:
    """Render all cells as far as they have run: as one table, or one per value of the third axis."""
    columns, rows, sheets = padded(grid.axes)
    at = {cell.place + (0,) * (3 - len(cell.place)): k for k, cell in enumerate(grid.cells)}
    head = "".join(f'<th scope="col">{_value(columns, value, checkpoint)}</th>' for value in columns.values)
    down = f"<span>{_field(rows)} ↓</span>" if rows.field else ""
    corner = f'<td class="corner"><span>{_field(columns)} →</span>{down}</td>'
    label = said(aria_label=say_in_each("explore.grid"))
    tables = []
    for z, sheet_value in enumerate(sheets.values):
        lines = []
        for y, row_value in enumerate(rows.values):
            name = _value(rows, row_value, checkpoint) if rows.field else ""
            cells = [_cell(grid, at[x, y, z], found, current) for x in range(len(columns.values))]
            lines.append(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>')
        if sheets.field:
            tables.append(f"<h3>{_field(sheets)} = {_value(sheets, sheet_value, checkpoint)}</h3>")
        table = f"<table><thead><tr>{corner}{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
        tables.append(f'<div class="scroll" tabindex="0" role="region" {label}>{table}</div>')
    return f'<div class="explored" style="--columns:{len(columns.values)}">{"".join(tables)}</div>'


def _value(axis: Axis, value, checkpoint: Checkpoint) -> str:
    return words(in_each(lambda language: value_words(axis, value, checkpoint, language)))


def _field(axis: Axis) -> str:
    return words(in_each(lambda language: field_words(axis.field, language)))


def _cell(grid: Grid, number: int, found: Mapping, current: Current | None) -> str:
    job, settings = grid.jobs[number], grid.cells[number].plan.settings
    query = to_query(settings)
    calls = words(in_each(lambda language: say(language, "explore.calls", calls=job.calls)))
    if job.key in found:
        one = found[job.key]
        seconds = words(in_each(lambda language: say(language, "explore.seconds", seconds=seconds_text(one.seconds))))
        image, facts, state = _image(visible(one.result), "cell"), f"{calls} · {seconds}", ""
    elif current and current[0].key == job.key:
        image = _image(current[2], "running")
        facts, state = f"{current[1]} / {job.calls}", " running"
    else:
        image, facts, state = '<span class="empty"></span>', calls, " waiting"
    title = said(title=say_in_each("explore.open"))
    return (
        f'<td><a class="cell{state}" href="?{escape(query)}" data-query="{escape(query)}" {title}>'
        f'{image}<span class="facts">{facts}</span></a></td>'
    )


def _image(images: np.ndarray, what: str) -> str:
    """Return the picture of a cell. what: "cell" for its result, "running" for a guess on the way to it."""
    address = data_uri(png(sheet(images, full_columns(len(images))), level=FASTEST))
    return f'<img src="{address}" {said(alt=say_in_each(f"explore.alt_{what}"))}>'


def outcome(grid: Grid, found: Mapping) -> str:
    """Render links that save the grid so far as one labelled picture and as CSV; "" before the first cell is done."""
    if not any(job.key in found for job in grid.jobs):
        return ""
    address = data_uri(png(labelled(grid, found)))
    picture = words(in_each(lambda language: say(language, "explore.save")))
    csv = words(in_each(lambda language: say(language, "plots.csv")))
    click = words(in_each(lambda language: say(language, "explore.click")))
    return (
        f'<p class="note">{click} <a href="{address}" download="ddpm-lab-grid.png">{picture}</a> '
        f'<a href="{grid_csv(grid, found)}" download="ddpm-lab-grid.csv">{csv}</a></p>'
    )


# The frontier --------------------------------------------------------------------------------------------------------


def frontier_html(points: Sequence[Point]) -> str:
    """Render the measurements as a table with headings, and a link that saves them as CSV; "" if there are none."""
    if not points:
        return ""
    heads = [words(in_each(lambda language, key=key: say(language, f"frontier.{key}")))
             for key in ("sampler", "calls", "quality", "pictures")]  # fmt: skip
    rows = []
    for point in points:
        name = words(in_each(lambda language, point=point: sampler_name(point, language)))
        measure = words(in_each(lambda language, key=point.measure: say(language, f"frontier.short_{key}")))
        rows.append(f"<tr><th scope='row'>{name}</th><td>{point.calls}</td><td>{measure} {said_value(point)}</td>"
                    f"<td>{point.n}</td></tr>")  # fmt: skip
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    csv = words(in_each(lambda language: say(language, "plots.csv")))
    return (
        f'<div class="measured">{table}</div><p class="note">'
        f'<a href="{frontier_csv(points)}" download="ddpm-lab-frontier.csv">{csv}</a></p>'
    )


def caption(points: Sequence[Point], measure: str) -> str:
    """Render the caption below a measure's plot; "" if the measure has no points."""
    own = [point for point in points if point.measure == measure]
    if not own:
        return ""
    sentence: Words = in_each(lambda language: say(language, f"frontier.caption_{measure}", n=own[0].n))
    return f'<p class="note">{words(sentence)}</p>'
