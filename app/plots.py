"""Numbers to plots, as Vega-Lite specifications that the page draws itself, and to CSV. Pure functions.

Text and axes take the colour of the page's text, so that a plot fits light and dark alike (which needs the SVG
renderer). Colours mean the same in every plot: what is picture is blue, what is noise is orange, what the network is
told is purple; what was trained, where a run does otherwise, is dashed.
"""

from collections.abc import Iterator, Sequence

import torch
from gradio.components.plot import PlotData

from app.texts import say
from app.vega import HEIGHT, NETWORK, NOISE, PICTURE, csv_address, layered, plot_data
from diffusion.compare import Parting
from diffusion.plan import Plan
from diffusion.schedule import NoiseSchedule

POINTS = 120  # of a curve: as many as can be told apart on the page
MARKED = 100  # steps up to which each has a point of its own on the curve


def schedule_plots(plan: Plan, language: str) -> list[PlotData]:
    """Before a run: how much of the pictures is signal and noise at each t, the betas, and what the network is told."""
    return [plot_data(spec) for spec in (amplitudes(plan, language), betas(plan, language), log_snrs(plan, language))]


def amplitudes(plan: Plan, language: str) -> dict:
    """sqrt(alpha-bar) and sqrt(1 - alpha-bar) over t, with the steps of the run."""
    names = {say(language, "plots.signal"): PICTURE, say(language, "plots.noise"): NOISE}
    rows = []
    for schedule, is_trained in _schedules(plan):
        grid = _grid(len(schedule))
        log_alpha_bar = schedule.log_alphas_cumprod[grid]
        for name, y in zip(names, (torch.exp(0.5 * log_alpha_bar), (-torch.expm1(log_alpha_bar)).sqrt()), strict=True):
            rows += _rows(grid, y.tolist(), name, is_trained)
    visited = [t for t, _ in plan.run_pairs]
    layers = [_lines(rows, names), _rug(visited)]
    if len(visited) <= MARKED:
        signal = plan.schedule.alphas_cumprod[visited].sqrt().tolist()
        layers.append(_points([{"t": t, "y": y} for t, y in zip(visited, signal, strict=True)], PICTURE))
    return layered(say(language, "plots.alt_amplitudes"), layers)


def betas(plan: Plan, language: str) -> dict:
    """beta over t, on a logarithmic axis."""
    name = say(language, "plots.beta")
    rows = []
    for schedule, is_trained in _schedules(plan):
        grid = _grid(len(schedule))
        rows += _rows(grid, schedule.betas[grid].tolist(), name, is_trained)
    y = {"scale": {"type": "log"}, "axis": {"format": "~g", "values": [10.0**-k for k in range(7)]}}
    return layered(say(language, "plots.alt_betas"), [_lines(rows, {name: NOISE}, y)])


def log_snrs(plan: Plan, language: str) -> dict:
    """log SNR of the pictures that the network gets, and the one that it was trained on where it is told to be."""
    levels = plan.noise_levels
    names = {say(language, "plots.fed"): NOISE, say(language, "plots.told"): NETWORK}
    keep = _grid(len(levels.t))
    rows = []
    for name, log_sigma in zip(names, (levels.fed, levels.told), strict=True):
        rows += _rows(levels.t[keep].tolist(), (-2 * log_sigma[keep]).tolist(), name, name != next(iter(names)))
    lines = _lines(rows, names, {"title": "log SNR"}, has_points=len(keep) <= MARKED)
    return layered(say(language, "plots.alt_levels"), [lines])


def parting(partings: Sequence[Parting], language: str) -> PlotData:
    """How far two runs are apart, over log SNR: from noise on the left to the pictures on the right."""
    names = {say(language, "plots.apart_x_0_hat"): PICTURE, say(language, "plots.apart_x_t"): NOISE}
    rows = []
    for name, field in zip(names, ("x_0_hat", "x_t"), strict=True):
        rows += [_row(one.log_snr, getattr(one, field), name) for one in partings]
    lines = _lines(rows, names, {"title": say(language, "plots.rms")}, has_points=len(partings) <= MARKED, x="log SNR")
    return plot_data(layered(say(language, "plots.alt_parting"), [lines]))


def parting_csv(partings: Sequence[Parting]) -> str:
    """The same as an address that holds a CSV file."""
    rows = [(*one.numbers, one.log_snr, one.x_t, one.x_0_hat) for one in partings]
    return csv_address(("step_of_a", "step_of_b", "log_snr", "rms_x_t", "rms_x_0_hat"), rows)


def schedule_csv(plan: Plan) -> str:
    """What the plots show, at every timestep: an address that holds a CSV file."""
    levels = plan.noise_levels
    told = dict(zip(levels.t.tolist(), (-2 * levels.told).tolist(), strict=True))
    columns = {
        "t": range(len(plan.schedule)),
        "beta": plan.schedule.betas.tolist(),
        "alpha_bar": plan.schedule.alphas_cumprod.tolist(),
        "log_snr": (-2 * plan.schedule.log_sigma).tolist(),
        "trained_beta": plan.trained.betas.tolist(),
        "trained_alpha_bar": plan.trained.alphas_cumprod.tolist(),
        "log_snr_told_where_visited": [told.get(float(t)) for t in range(len(plan.schedule))],
    }
    return csv_address(columns, zip(*columns.values(), strict=True))


def _schedules(plan: Plan) -> Iterator[tuple[NoiseSchedule, bool]]:
    """The schedules to draw, and whether one is there for comparison alone; the run's own comes last, on top."""
    if not plan.on_trained_betas:
        yield plan.trained, True
    yield plan.schedule, False


def _grid(count: int) -> list[int]:
    if count <= POINTS:
        return list(range(count))
    return sorted({round(k * (count - 1) / (POINTS - 1)) for k in range(POINTS)})


def _rows(t: list, y: list[float], name: str, is_dashed: bool) -> list[dict]:
    return [_row(a, b, name, is_dashed) for a, b in zip(t, y, strict=True)]


def _row(x: float, y: float, name: str, is_dashed: bool = False) -> dict:
    return {"t": x, "y": float(f"{y:.5g}"), "name": name, "dashed": is_dashed}


def _lines(
    rows: list[dict], names: dict[str, str], y: dict | None = None, has_points: bool = False, x: str = "t"
) -> dict:
    """Curves over t, or what else x names. names: of the curves, with their colours."""
    color = {"field": "name", "type": "nominal", "scale": {"domain": list(names), "range": list(names.values())}}
    dash = {"field": "dashed", "type": "nominal", "legend": None}
    return {
        "data": {"values": rows},
        "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 16} if has_points else False},
        "encoding": {
            "x": _x() | {"title": x},
            "y": {"field": "y", "type": "quantitative", "title": None} | (y or {}),
            "color": color,
            "strokeDash": dash | {"scale": {"domain": [False, True], "range": [[1, 0], [5, 4]]}},
            "tooltip": [
                {"field": "name", "type": "nominal", "title": " "},
                {"field": "t", "type": "quantitative", "title": x},
                {"field": "y", "type": "quantitative", "title": " "},
            ],
        },
    }


def _points(rows: list[dict], color: str) -> dict:
    return {
        "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "size": 22, "color": color, "opacity": 1},
        "encoding": {"x": _x(), "y": {"field": "y", "type": "quantitative"}},
    }


def _rug(timesteps: list[int]) -> dict:
    """A short stroke at the foot of the plot for each timestep."""
    opacity = 0.8 if len(timesteps) <= MARKED else 0.25
    return {
        "data": {"values": [{"t": t} for t in timesteps]},
        "mark": {"type": "tick", "color": "currentColor", "opacity": opacity, "thickness": 1, "size": 9},
        "encoding": {"x": _x(), "y": {"value": HEIGHT - 5}},
    }


def _x() -> dict:
    axis = {"grid": False, "tickCount": 5}
    return {"field": "t", "type": "quantitative", "title": "t", "axis": axis, "scale": {"nice": False}}
