"""Plots of quality against network calls: one line per sampler, logarithmic axes. Pure functions."""

import math
from collections.abc import Sequence

from app.controls.spec import sampler_title
from app.texts import say
from app.ui.charts import NETWORK, NOISE, PICTURE, Axis, Chart, Layer
from app.ui.csv_files import csv_address
from diffusion.experiments.frontier import Point
from diffusion.samplers.registry import SAMPLERS

COLORS = (PICTURE, NOISE, "#2e8b74", "#b4486b", "#6b4fa0", "#a35c1e", "#3f7f2f", "#70757d")  # in the registry's order
OTHERS = (NETWORK, "#8a7a2a", "#5b7db1", "#7d5a4f")  # for eta between 0 (DDIM) and 1 (DDPM)


def sampler_name(point: Point, language: str) -> str:
    """Return the name of the line that a point belongs to."""
    if point.sampler not in ("ddim", "ddpm"):
        return sampler_title(point.sampler, language)
    key = {0: "ddim", 1: "ddpm"}.get(point.eta, "eta")
    return say(language, f"frontier.{key}", eta=f"{point.eta:g}")


def frontier_plots(points: Sequence[Point], language: str) -> list[Chart | None]:
    """Plot "rms" (deterministic samplers against their all-steps result) and "kid" (the others); None if no points."""
    plots = []
    for measure in ("rms", "kid"):
        own = [point for point in points if point.measure == measure and math.isfinite(point.value)]
        plots.append(frontier_plot(own, measure, points, language) if own else None)
    return plots


def frontier_plot(points: Sequence[Point], measure: str, every: Sequence[Point], language: str) -> Chart:
    """Plot one measure over network calls.

    A value within one standard error of 0 is drawn as an upper limit: value + error, hanging down. every: the points
    of both measures, which share their colours.
    """
    colors = _colors(every, language)
    by_name: dict[str, list[Point]] = {}
    for point in points:
        if point.value != 0 or point.standard_error:
            by_name.setdefault(sampler_name(point, language), []).append(point)
    layers = []
    for name, color in colors.items():
        own = by_name.get(name, [])
        sure = [point for point in own if not _is_unsure(point)]
        unsure = [point for point in own if _is_unsure(point)]
        with_error = [point for point in sure if _error(point)]
        if own:
            layers.append(_layer("line", name, color, sure, [point.value for point in sure], dots=34))
        if with_error:
            low = [point.value - _error(point) for point in with_error]
            layers.append(
                _layer("span", name, color, with_error, [point.value + _error(point) for point in with_error], base=low)
            )
        if unsure:
            most = [max(point.value, 0.0) + _error(point) for point in unsure]
            layers.append(_layer("below", name, color, unsure, most))
    calls = sorted({point.calls for own in by_name.values() for point in own})
    x = Axis(say(language, "frontier.calls"), log=True, values=calls, padding=12, has_grid=False)
    y = Axis(say(language, f"frontier.{measure}"), log=True, padding=12)
    return Chart(say(language, f"frontier.alt_{measure}"), x, y, layers)


def _colors(points: Sequence[Point], language: str) -> dict[str, str]:
    """Return each line's colour by name, in the registry's order."""
    between = sorted({point.eta for point in points} - {0, 1})
    of_eta = {eta: OTHERS[k % len(OTHERS)] for k, eta in enumerate(between)}
    place = {sampler: k for k, sampler in enumerate(SAMPLERS)}
    ordered = sorted(points, key=lambda point: (place[point.sampler], point.eta))
    return {
        sampler_name(point, language): of_eta.get(point.eta, COLORS[place[point.sampler] % len(COLORS)])
        for point in ordered
    }


def _layer(kind: str, name: str, color: str, points: list[Point], y: list[float], **more) -> Layer:
    said = [said_value(point) for point in points]
    return Layer(kind, name, color, [point.calls for point in points], y, said=said, **more)


def _error(point: Point) -> float:
    """Return the point's standard error; 0 if it has none or it is not finite."""
    return point.standard_error if point.standard_error and math.isfinite(point.standard_error) else 0.0


def _is_unsure(point: Point) -> bool:
    """Whether the value is within one standard error of 0."""
    return point.value <= _error(point)


def said_value(point: Point) -> str:
    """Format a measurement with its standard error."""
    error = "" if point.standard_error is None else f" ± {point.standard_error:.2g}"
    return f"{point.value:.3g}{error}"


def frontier_csv(points: Sequence[Point]) -> str:
    """Return all measurements as a CSV data address."""
    rows = [(p.sampler, p.eta, p.calls, p.measure, p.value, p.standard_error, p.n) for p in points]
    return csv_address(("sampler", "eta", "network_calls", "measure", "value", "standard_error", "pictures"), rows)
