"""Vega-Lite specifications that the page draws itself: what all plots have in common, and charts made of layers.

Text and axes take the colour of the page's text, so that a plot fits light and dark alike (which needs the SVG
renderer). Colours mean the same in every plot and formula: what is picture is blue, what is noise is orange, what the
network says or is told is purple, what is exact is green.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from unicodedata import east_asian_width
from urllib.parse import quote

from gradio.components.plot import PlotData

PICTURE, NOISE, NETWORK, EXACT, PLAIN = "#3f7fc4", "#d2701c", "#a065c0", "#3d8f63", "#8a8a8a"
HEIGHT = 170
LEGEND_ROOM = 42  # letters that a phone shows in one row of names; a Chinese one counts as two

INK = {key: "currentColor" for key in ("labelColor", "titleColor", "domainColor", "tickColor", "gridColor")}
CONFIG = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": INK | {
        "gridOpacity": 0.12, "domainOpacity": 0.4, "tickOpacity": 0.4,
        "labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal",
    },
    "legend": {
        "labelColor": "currentColor", "labelFontSize": 12, "labelLimit": 0, "orient": "top", "title": None,
        "symbolType": "stroke", "symbolStrokeWidth": 2, "symbolOpacity": 1, "direction": "horizontal",
        "padding": 0, "offset": 6,
    },
}  # fmt: skip


def plot_data(spec: dict) -> PlotData:
    """A specification as gr.Plot takes it."""
    return PlotData(type="altair", plot=json.dumps(spec, ensure_ascii=False, allow_nan=False))


def layered(description: str, layers: list[dict], height: int = HEIGHT, width: int | None = None) -> dict:
    """The specification of a plot of these layers, by default as wide as its place on the page."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "description": description,
        "usermeta": {"embedOptions": {"renderer": "svg", "actions": False}},
        "config": CONFIG,
        "width": "container" if width is None else width,
        "height": height,
        "layer": layers,
    }


def csv_address(names: Iterable[str], rows: Iterable[Iterable[float | str | None]]) -> str:
    """An address that holds a CSV file. Fractions to six digits; None is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(f"{value:.6g}" if isinstance(value, float) else value for value in row)
    return "data:text/csv;charset=utf-8," + quote(text.getvalue(), safe=",-.")


@dataclass(frozen=True)
class Axis:
    """An axis. domain: (least, most), or None for what the data need. values: of the ticks, or None for Vega's own.

    labels: of the ticks, one for each of `values`, in place of their numbers.
    """

    title: str | None = None
    log: bool = False
    domain: tuple[float, float] | None = None
    values: Sequence[float] | None = None
    reverse: bool = False
    labels: Sequence[str] | None = None

    @property
    def encoding(self) -> dict:
        """Of a channel that has this axis."""
        scale = {"nice": False, "reverse": self.reverse} | ({"type": "log"} if self.log else {"zero": False})
        if self.domain is not None:
            scale["domain"] = list(self.domain)
        axis = {"tickCount": 5} | ({"format": "~g"} if self.log else {})
        if self.values is not None:
            axis["values"] = list(self.values)
        if self.labels is not None:
            texts, places = (json.dumps(list(one), ensure_ascii=False) for one in (self.labels, self.values))
            axis |= {"labelExpr": f"{texts}[indexof({places}, datum.value)]", "labelLimit": 0}
        return {"type": "quantitative", "title": self.title, "axis": axis, "scale": scale}


@dataclass(frozen=True)
class Layer:
    """Numbers to draw: "line", "area" (from 0), "bar" (from 0), "step" (bars without gaps, of one width) or "point".

    name: in the legend and in the CSV. x, y: of one length; what is no finite number is left out, and on a logarithmic
    axis what is not above 0. width: of bars, in units of x, or None for thin ones. base: the least y of an area or bar.
    """

    kind: str
    name: str
    color: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    width: float | None = None
    opacity: float = 1.0
    base: Sequence[float] | None = None


@dataclass(frozen=True)
class Chart:
    """A plot. alt: for those who do not see it. marks: (x, label) of upright lines; levels: (y, label) of flat ones.

    width: in units of the height's, where one axis is to be true to the other; by default as wide as its place.
    """

    alt: str
    x: Axis
    y: Axis
    layers: Sequence[Layer]
    marks: Sequence[tuple[float, str]] = ()
    levels: Sequence[tuple[float, str]] = ()
    height: int = HEIGHT
    width: int | None = None

    @property
    def plot(self) -> PlotData:
        """For gr.Plot."""
        names = dict.fromkeys((layer.name, layer.color) for layer in self.layers)
        scale = {"domain": [name for name, _ in names], "range": [color for _, color in names]}
        drawn = [self._drawn(layer, scale) for layer in self.layers]
        drawn += [self._rule("x", value, label) for value, label in self.marks if self._shows(value, self.x)]
        drawn += [self._rule("y", value, label) for value, label in self.levels if self._shows(value, self.y)]
        return plot_data(layered(self.alt, drawn, self.height, self.width))

    @property
    def csv(self) -> str:
        """An address that holds the numbers: one line a point."""
        rows = []
        for layer in self.layers:
            for x, y, base in zip(layer.x, layer.y, layer.base or [0.0] * len(layer.x), strict=True):
                rows.append((layer.name, float(x), float(y - base) if math.isfinite(y) else None))
        return csv_address(("name", self.x.title or "x", self.y.title or "y"), rows)

    def _drawn(self, layer: Layer, scale: dict) -> dict:
        rows = []
        bases = [None] * len(layer.x) if layer.base is None else layer.base
        for x, y, base in zip(layer.x, layer.y, bases, strict=True):
            if not self._shows(x, self.x) or not self._shows(y, self.y):
                continue
            row = {"x": _digits(x), "y": _digits(y), "value": _digits(y - (base or 0.0)), "name": layer.name}
            if layer.kind in ("bar", "step"):
                half = (layer.width or 0) / 2
                row |= {"left": _digits(x - half), "right": _digits(x + half)}
            if layer.kind in ("bar", "step", "area"):
                row["base"] = _digits(base if base is not None else self._floor)
            rows.append(row)
        x, y = {"field": "x", **self.x.encoding}, {"field": "y", **self.y.encoding}
        tips = [{"field": "name", "type": "nominal", "title": " "}]
        tips += [
            {"field": "x", "type": "quantitative", "title": self.x.title or "x", "format": ".5~g"},
            {"field": "value", "type": "quantitative", "title": self.y.title or "y", "format": ".5~g"},
        ]
        color = {"field": "name", "type": "nominal", "scale": scale}
        if len(scale["domain"]) == 1:
            color["legend"] = None
        else:
            color["legend"] = {} if _letters(scale["domain"]) <= LEGEND_ROOM else {"columns": 2}
            if not any(one.kind == "line" for one in self.layers):
                # a stroke shows no filled mark's colour
                color["legend"] |= {"symbolType": "square", "symbolStrokeWidth": 0}
        encoding = {"x": x, "y": y, "color": color, "tooltip": tips}
        if layer.kind == "line" and any(one.dashed for one in self.layers):  # so that the legend shows dashes too
            lines = {one.name: [5, 4] if one.dashed else [1, 0] for one in self.layers if one.kind == "line"}
            dashes = {"domain": scale["domain"], "range": [lines.get(name, [1, 0]) for name in scale["domain"]]}
            encoding["strokeDash"] = color | {"scale": dashes}
        if layer.kind in ("bar", "step", "area"):
            encoding["y2"] = {"field": "base"}
        if layer.kind in ("bar", "step") and layer.width:
            encoding |= {"x": x | {"field": "left"}, "x2": {"field": "right"}}
        mark = {
            "line": {"type": "line", "strokeWidth": 2, "clip": True},
            "area": {"type": "area", "line": False, "clip": True},
            "bar": {"type": "bar", "clip": True} | ({} if layer.width else {"size": 3}),
            "step": {"type": "rect", "clip": True},
            "point": {"type": "point", "filled": True, "size": 28, "clip": True},
        }[layer.kind]
        mark = mark | {"opacity": layer.opacity}
        return {"data": {"values": rows}, "mark": mark, "encoding": encoding}

    @property
    def _floor(self) -> float:
        """Where bars and areas begin."""
        if self.y.domain is not None:
            return max(0.0, self.y.domain[0]) if not self.y.log else self.y.domain[0]
        return 0.0 if not self.y.log else min(v for one in self.layers for v in one.y if self._shows(v, self.y))

    @staticmethod
    def _shows(value: float, axis: Axis) -> bool:
        return math.isfinite(value) and (value > 0 or not axis.log)

    def _rule(self, channel: str, value: float, label: str) -> dict:
        axis = self.x if channel == "x" else self.y
        encoding = {channel: {"field": channel, **axis.encoding}}
        text = {"type": "text", "color": "currentColor", "fontSize": 11, "opacity": 0.85}
        if channel == "x":
            text |= {"align": "left", "baseline": "top", "dx": 4, "y": 2}
        else:
            text |= {"align": "right", "baseline": "bottom", "dy": -3, "x": "width"}
        rule = {"type": "rule", "color": "currentColor", "strokeDash": [3, 3], "opacity": 0.6, "clip": True}
        return {
            "data": {"values": [{channel: _digits(value), "label": label}]},
            "encoding": encoding,
            "layer": [{"mark": rule}, {"mark": text, "encoding": {"text": {"field": "label", "type": "nominal"}}}],
        }


def blank(alt: str) -> Chart:
    """A plot of nothing, in place of an older one, where there is nothing to show."""
    axis = Axis(domain=(0, 1))
    return Chart(alt, axis, axis, [Layer("line", "", PLAIN, [], [])])


def _letters(names: Sequence[str]) -> int:
    """How long a legend of these names is, with two letters for each symbol."""
    return sum(2 + sum(2 if east_asian_width(letter) in "WF" else 1 for letter in name) for name in names)


def _digits(value: float) -> float:
    return float(f"{value:.5g}")
