"""Vega-Lite charts made of layers, and the configuration that all plots of the page share.

Text and axes take the colour of the page's text, so that a plot fits light and dark themes (this needs the SVG
renderer). Colours mean the same in every plot and formula: blue is picture, orange is noise, purple is what the network
predicts or is conditioned on, green is exact.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from unicodedata import east_asian_width

from gradio.components.plot import PlotData

from app.texts.numbers import number
from app.ui.csv_files import csv_address

PICTURE, NOISE, NETWORK, EXACT, PLAIN = "#3f7fc4", "#d2701c", "#a065c0", "#3d8f63", "#8a8a8a"
HEIGHT = 170
MARKED, DOTS = 100, 16  # a curve of at most MARKED steps has a dot of size DOTS at each step
DASHES = (5, 4)
LEGEND_ROOM = 42  # letters that fit in one row of the legend on a phone; a Chinese one counts as two

INK = {key: "currentColor" for key in ("labelColor", "titleColor", "domainColor", "tickColor", "gridColor")}
CONFIG = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "aria": False,  # Vega would name every axis and every point in English; the plot's description stays
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


@dataclass(frozen=True)
class Axis:
    """An axis. domain: (least, most), or None to fit the data. values: tick positions, or None for Vega's own.

    labels: tick labels in place of the numbers, one per entry of `values`. padding: pixels beyond the data. zero:
    always include 0 (linear axes only). nice: extend to round numbers. name: in the CSV and beside a point's values; by
    default the title.
    """

    title: str | None = None
    log: bool = False
    domain: tuple[float, float] | None = None
    values: Sequence[float] | None = None
    reverse: bool = False
    labels: Sequence[str] | None = None
    padding: int = 0
    has_grid: bool = True
    zero: bool = False
    nice: bool = False
    name: str | None = None

    @property
    def encoding(self) -> dict:
        """The Vega-Lite encoding of a channel on this axis."""
        scale = {"nice": self.nice, "reverse": self.reverse} | ({"type": "log"} if self.log else {"zero": self.zero})
        scale |= {"padding": self.padding} if self.padding else {}
        if self.domain is not None:
            scale["domain"] = list(self.domain)
        axis = {"tickCount": 5} | ({"format": "~g"} if self.log else {}) | ({} if self.has_grid else {"grid": False})
        if self.values is not None:
            axis["values"] = list(self.values)
        if self.labels is not None:
            texts, places = (json.dumps(list(one), ensure_ascii=False) for one in (self.labels, self.values))
            axis |= {"labelExpr": f"{texts}[indexof({places}, datum.value)]", "labelLimit": 0}
        return {"type": "quantitative", "title": self.title, "axis": axis, "scale": scale}


MARKS = {
    "line": {"type": "line", "strokeWidth": 2, "clip": True},
    "area": {"type": "area", "line": False, "clip": True},
    "bar": {"type": "bar", "clip": True},
    "step": {"type": "rect", "clip": True},
    "point": {"type": "point", "filled": True, "size": 28, "clip": True},
    "below": {"type": "point", "shape": "triangle-down", "size": 60, "filled": False, "strokeWidth": 1.5},
    "span": {"type": "rule", "strokeWidth": 1.5},
    "rug": {"type": "tick", "color": "currentColor", "thickness": 1, "size": 9},
}
BASED = ("bar", "step", "area", "span")  # drawn from a base to y


@dataclass(frozen=True)
class Layer:
    """Numbers to draw as one of the kinds in MARKS.

    "area", "bar" and "step" (bars of equal width without gaps) reach from `base` to y, by default from 0 (see
    Chart._floor); "span" is a stroke from `base` to y, e.g. an error bar; "below" is a triangle that marks an upper
    bound; "rug" is a stroke at the foot of the plot for each x.

    name: in the legend and in the CSV; "" keeps it out of the legend. x, y: of equal length. Non-finite values are
    dropped, and on a logarithmic axis values not above 0. width: of bars, in units of x; None draws thin ones. base:
    the lower y of an area, a bar or a span, one per point. dots: size of the mark at each point of a line; 0 for none.
    said: texts of the values in place of numbers, one per point; see plot_values.js.
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
    dots: int = 0
    said: Sequence[str] | None = None


@dataclass(frozen=True)
class Chart:
    """A plot. alt: text for screen readers. marks: (x, label) of vertical lines; levels: (y, label) of horizontal ones.

    height, width: in pixels. A width is needed only where both axes must have one scale; None fills the container.
    names_one: whether a single name has a legend too.
    """

    alt: str
    x: Axis
    y: Axis
    layers: Sequence[Layer]
    marks: Sequence[tuple[float, str]] = ()
    levels: Sequence[tuple[float, str]] = ()
    height: int = HEIGHT
    width: int | None = None
    names_one: bool = False

    @property
    def plot(self) -> PlotData:
        """The value for gr.Plot."""
        return PlotData(type="altair", plot=json.dumps(self.spec, ensure_ascii=False, allow_nan=False))

    @property
    def spec(self) -> dict:
        """The Vega-Lite specification."""
        drawn = [self._drawn(layer) for layer in self.layers]
        drawn += [self._rule("x", value, label) for value, label in self.marks if self._shows(value, self.x)]
        drawn += [self._rule("y", value, label) for value, label in self.levels if self._shows(value, self.y)]
        return {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "description": self.alt,
            "usermeta": {"embedOptions": {"renderer": "svg", "actions": False, "tooltip": False}},
            "config": CONFIG,
            "width": "container" if self.width is None else self.width,
            "height": self.height,
            "layer": drawn,
        }

    @property
    def csv(self) -> str:
        """The data: address of a CSV file with one row (name, x, y - base) per point."""
        rows = []
        for layer in self.layers:
            for x, y, base in zip(layer.x, layer.y, layer.base or [0.0] * len(layer.x), strict=True):
                rows.append((layer.name, float(x), float(y - base) if math.isfinite(y) else None))
        return csv_address(("name", self._title("x"), self._title("y")), rows)

    def _title(self, channel: str) -> str:
        axis = self.x if channel == "x" else self.y
        return axis.name or axis.title or channel

    def _drawn(self, layer: Layer) -> dict:
        mark = MARKS[layer.kind] | {"opacity": layer.opacity}
        x, y = {"field": "x", **self.x.encoding}, {"field": "y", **self.y.encoding}
        encoding = {"x": x, "y": y}
        if layer.kind == "rug":
            encoding["y"] = {"value": self.height - 5}
        if layer.kind in BASED:
            encoding["y2"] = {"field": "base"}
        if layer.kind in ("bar", "step"):
            if layer.width:
                encoding |= {"x": x | {"field": "left"}, "x2": {"field": "right"}}
            elif layer.kind == "bar":
                mark["size"] = 3
        if layer.dots:
            mark["point"] = {"size": layer.dots, "filled": True}
        if layer.name:
            encoding["color"] = self._color
            if layer.kind == "line":
                encoding |= self._dashes
        elif layer.kind != "rug":
            mark["color"] = layer.color
        if layer.dashed and "strokeDash" not in encoding:
            mark["strokeDash"] = list(DASHES)
        return {"data": {"values": self._rows(layer)}, "mark": mark, "encoding": encoding}

    def _rows(self, layer: Layer) -> list[dict]:
        rows, count = [], len(layer.x)
        bases, said = layer.base or [None] * count, layer.said or [None] * count
        for x, y, base, text in zip(layer.x, layer.y, bases, said, strict=True):
            if not self._shows(x, self.x) or not self._shows(y, self.y):
                continue
            row = {"x": _digits(x), "y": _digits(y), "name": layer.name}
            if layer.kind in ("bar", "step"):
                half = (layer.width or 0) / 2
                row |= {"left": _digits(x - half), "right": _digits(x + half)}
            if layer.kind in BASED:
                row["base"] = _digits(base if base is not None else self._floor)
            if layer.name:  # what plot_values.js shows beside the point
                row |= {"at": self._at(x), "said": number(y - (base or 0.0), 4) if text is None else text}
            rows.append(row)
        return rows

    def _at(self, x: float) -> str:
        """Return the place of a point in words: the label of its tick, or the axis's title and the number."""
        for value, label in zip(self.x.values or (), self.x.labels or (), strict=False):
            if value == x:
                return label
        title = (self.x.name or self.x.title or "").strip()
        return " = ".join(filter(None, (title, number(x, 5))))

    @property
    def _named(self) -> dict[str, Layer]:
        """The first layer of each name, in order."""
        named: dict[str, Layer] = {}
        for layer in self.layers:
            if layer.name:
                named.setdefault(layer.name, layer)
        return named

    @property
    def _color(self) -> dict:
        named = self._named
        scale = {"domain": list(named), "range": [layer.color for layer in named.values()]}
        color: dict = {"field": "name", "type": "nominal", "scale": scale}
        if len(named) == 1 and not self.names_one:
            return color | {"legend": None}
        color["legend"] = {} if _letters(named) <= LEGEND_ROOM else {"columns": 2}
        if not any(one.kind == "line" for one in self.layers):
            # a stroke would not show the colour of a filled mark
            color["legend"] |= {"symbolType": "square", "symbolStrokeWidth": 0}
        return color

    @property
    def _dashes(self) -> dict:
        """The encoding that shows dashes in the legend; {} without dashes, or if a name has both kinds of line."""
        lines = [layer for layer in self.layers if layer.kind == "line" and layer.name]
        dashed = {layer.name for layer in lines if layer.dashed}
        if not dashed or dashed & {layer.name for layer in lines if not layer.dashed}:
            return {}
        names = list(self._named)
        scale = {"domain": names, "range": [list(DASHES) if name in dashed else [1, 0] for name in names]}
        return {"strokeDash": self._color | {"scale": scale}}

    @property
    def _floor(self) -> float:
        """The y at which bars and areas without a base begin: 0, or the least value on a logarithmic axis.

        With a domain it is the domain's lower end, but not below 0 on a linear axis.
        """
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
    """Return an empty plot, which replaces an older one when there is nothing to show."""
    axis = Axis(domain=(0, 1))
    return Chart(alt, axis, axis, [Layer("line", "", PLAIN, [], [])])


def _letters(names: Iterable[str]) -> int:
    """Return the length of a legend of these names, in letters; a symbol counts as two."""
    return sum(2 + sum(2 if east_asian_width(letter) in "WF" else 1 for letter in name) for name in names)


def _digits(value: float) -> float:
    return float(f"{value:.5g}")
