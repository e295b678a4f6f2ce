"""The frontier of quality against network calls: one line a sampler, logarithmic axes. Pure functions; see plots.py."""

import math
from collections.abc import Sequence

from gradio.components.plot import PlotData

from app.controls import sampler_title
from app.texts import say
from app.vega import NETWORK, NOISE, PICTURE, csv_address, layered, plot_data
from diffusion.frontier import Point
from diffusion.samplers.registry import SAMPLERS

COLORS = (PICTURE, NOISE, "#2e8b74", "#b4486b", "#6b4fa0", "#a35c1e", "#3f7f2f", "#70757d")  # as the registry has them
OTHERS = (NETWORK, "#8a7a2a", "#5b7db1", "#7d5a4f")  # of the lines between DDIM and DDPM
UNSURE = "unsure"


def sampler_name(point: Point, language: str) -> str:
    """What a point's line is called."""
    if point.sampler not in ("ddim", "ddpm"):
        return sampler_title(point.sampler, language)
    key = {0: "ddim", 1: "ddpm"}.get(point.eta, "eta")
    return say(language, f"frontier.{key}", eta=f"{point.eta:g}")


def frontier_plots(points: Sequence[Point], language: str) -> list[PlotData | None]:
    """The distance of deterministic samplers to their result of all steps, and KID of the others; None without any."""
    plots = []
    for measure in ("rms", "kid"):
        own = [point for point in points if point.measure == measure and math.isfinite(point.value)]
        plots.append(plot_data(frontier_plot(own, measure, points, language)) if own else None)
    return plots


def frontier_plot(points: Sequence[Point], measure: str, every: Sequence[Point], language: str) -> dict:
    """One measure over network calls. A value that its error does not tell from 0 hangs down from what it is below.

    every: the points of both measures, which share their colours.
    """
    between = sorted({point.eta for point in every} - {0, 1})
    of_eta = {eta: OTHERS[k % len(OTHERS)] for k, eta in enumerate(between)}
    place = {sampler: k for k, sampler in enumerate(SAMPLERS)}
    ordered = sorted(every, key=lambda point: (place[point.sampler], point.eta))
    colors = {
        sampler_name(point, language): of_eta.get(point.eta, COLORS[place[point.sampler] % len(COLORS)])
        for point in ordered
    }
    own = {sampler_name(point, language) for point in points}
    rows = [_row(point, language) for point in points if point.value != 0 or point.standard_error]
    sure = [row for row in rows if not row[UNSURE]]
    x = {"field": "calls", "type": "quantitative", "title": say(language, "frontier.calls"),
         "scale": {"type": "log", "nice": False, "padding": 12},
         "axis": {"grid": False, "format": "~g", "values": sorted({row["calls"] for row in rows})}}  # fmt: skip
    y = {"field": "y", "type": "quantitative", "title": say(language, f"frontier.{measure}"),
         "scale": {"type": "log", "nice": False, "padding": 12}, "axis": {"format": "~g", "tickCount": 4}}  # fmt: skip
    names = [name for name in colors if name in own]
    color = {"field": "name", "type": "nominal",
             "scale": {"domain": names, "range": [colors[name] for name in names]}}  # fmt: skip
    tooltip = [{"field": "name", "type": "nominal", "title": " "},
               {"field": "calls", "type": "quantitative", "title": say(language, "frontier.calls")},
               {"field": "said", "type": "nominal", "title": say(language, f"frontier.{measure}")}]  # fmt: skip
    line = {"type": "line", "strokeWidth": 2, "point": {"size": 34, "filled": True}}
    layers = [
        {"data": {"values": sure}, "mark": line, "encoding": {"x": x, "y": y, "color": color, "tooltip": tooltip}},
        {"data": {"values": [row for row in sure if "low" in row]}, "mark": {"type": "rule", "strokeWidth": 1.5},
         "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "color": color}},
        {"data": {"values": [row for row in rows if row[UNSURE]]},
         "mark": {"type": "point", "shape": "triangle-down", "size": 60, "filled": False, "strokeWidth": 1.5},
         "encoding": {"x": x, "y": y, "color": color, "tooltip": tooltip}},
    ]  # fmt: skip
    return layered(say(language, f"frontier.alt_{measure}"), layers)


def _row(point: Point, language: str) -> dict:
    error = point.standard_error if point.standard_error and math.isfinite(point.standard_error) else 0.0
    is_unsure = point.value <= error
    row = {
        "calls": point.calls, "name": sampler_name(point, language), "said": said_value(point), UNSURE: is_unsure,
        "y": _digits(max(point.value, 0.0) + error if is_unsure else point.value),
    }  # fmt: skip
    if not is_unsure and error:
        row |= {"low": _digits(point.value - error), "high": _digits(point.value + error)}
    return row


def _digits(value: float) -> float:
    return max(float(f"{value:.4g}"), 1e-9)  # a logarithmic axis has no 0


def said_value(point: Point) -> str:
    """A measurement with its standard error."""
    error = "" if point.standard_error is None else f" ± {point.standard_error:.2g}"
    return f"{point.value:.3g}{error}"


def frontier_csv(points: Sequence[Point]) -> str:
    """All measurements as an address that holds a CSV file."""
    rows = [(p.sampler, p.eta, p.calls, p.measure, p.value, p.standard_error, p.n) for p in points]
    return csv_address(("sampler", "eta", "network_calls", "measure", "value", "standard_error", "pictures"), rows)
