"""The frontier of quality against network calls: one line a sampler, logarithmic axes. Pure functions; see plots.py."""

import math
from collections.abc import Sequence

from app.controls.spec import sampler_title
from app.texts import say
from app.ui.charts import NETWORK, NOISE, PICTURE, Axis, Chart, Layer, csv_address
from diffusion.experiments.frontier import Point
from diffusion.samplers.registry import SAMPLERS

COLORS = (PICTURE, NOISE, "#2e8b74", "#b4486b", "#6b4fa0", "#a35c1e", "#3f7f2f", "#70757d")  # as the registry has them
OTHERS = (NETWORK, "#8a7a2a", "#5b7db1", "#7d5a4f")  # of the lines between DDIM and DDPM


def sampler_name(point: Point, language: str) -> str:
    """What a point's line is called."""
    if point.sampler not in ("ddim", "ddpm"):
        return sampler_title(point.sampler, language)
    key = {0: "ddim", 1: "ddpm"}.get(point.eta, "eta")
    return say(language, f"frontier.{key}", eta=f"{point.eta:g}")


def frontier_plots(points: Sequence[Point], language: str) -> list[Chart | None]:
    """The distance of deterministic samplers to their result of all steps, and KID of the others; None without any."""
    plots = []
    for measure in ("rms", "kid"):
        own = [point for point in points if point.measure == measure and math.isfinite(point.value)]
        plots.append(frontier_plot(own, measure, points, language) if own else None)
    return plots


def frontier_plot(points: Sequence[Point], measure: str, every: Sequence[Point], language: str) -> Chart:
    """One measure over network calls. A value that its error does not tell from 0 hangs down from what it is below.

    every: the points of both measures, which share their colours.
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
    """The colour of each line, by its name, in the registry's order."""
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
    """Its standard error; 0 where it has none."""
    return point.standard_error if point.standard_error and math.isfinite(point.standard_error) else 0.0


def _is_unsure(point: Point) -> bool:
    """Whether its error does not tell it from 0."""
    return point.value <= _error(point)


def said_value(point: Point) -> str:
    """A measurement with its standard error."""
    error = "" if point.standard_error is None else f" ± {point.standard_error:.2g}"
    return f"{point.value:.3g}{error}"


def frontier_csv(points: Sequence[Point]) -> str:
    """All measurements as an address that holds a CSV file."""
    rows = [(p.sampler, p.eta, p.calls, p.measure, p.value, p.standard_error, p.n) for p in points]
    return csv_address(("sampler", "eta", "network_calls", "measure", "value", "standard_error", "pictures"), rows)
